"""The state of every stream: its newest verdict, its detector, and who else looks at it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from monitors.baselines import label
from monitors.embeddings.names import finding_of
from monitors.endings import has_ended
from monitors.evidence import Budget
from monitors.explain.model import DRIFT_VERSION, DriftState, StreamState
from monitors.memory import is_held
from monitors.options import MonitorOptions
from monitors.report.parts import Interval
from monitors.streams import restored
from monitors.verdicts import MONITOR
from monitors.windows import Window, from_us
from storage.monitor_records import Detector
from storage.records import Baseline, Verdict

StreamName = tuple[str, str, str]
"""Route, segment and feature."""


class DriftQuery(NamedTuple):
    """Which streams are asked for; None and an empty segment are any.

    Attributes
    ----------
    baseline : str or None
        Name of a baseline, without its version.
    deep : bool
        Also what single rows say.
    """

    window: Window
    route: str | None = None
    feature: str | None = None
    segment: str = ""
    baseline: str | None = None
    deep: bool = False

    def has(self, route: str, segment: str, feature: str) -> bool:
        """Say whether a stream is asked for; an embedding's name asks for all its parts."""
        return (
            self.route in {None, route}
            and self.feature in {None, feature, finding_of(feature)}
            and self.segment in {"", segment}
        )


class Known(NamedTuple):
    """What the log keeps of monitors.

    Attributes
    ----------
    verdicts : sequence of Verdict
        The newest of the interval, of each monitor, segment and feature.
    baselines : sequence of Baseline
        Without cells.
    awaited : sequence of str
        Of each route without a baseline: when it gets one.
    """

    verdicts: Sequence[Verdict]
    detectors: Sequence[Detector]
    baselines: Sequence[Baseline]
    awaited: Sequence[str] = ()


def drift_state(known: Known, query: DriftQuery, config: MonitorOptions, now_us: int) -> DriftState:
    """Put verdicts and detectors together, what drifts first, then by evidence."""
    evidence = _evidence(known, config, now_us)
    watching = _watching(known.verdicts)
    streams = {
        (v.route, v.segment, v.feature): _of_verdict(v, evidence, watching)
        for v in known.verdicts
        if v.monitor == MONITOR and _is_of(v.baseline, query) and not _is_past(v, evidence)
    }
    for name, found in evidence.items():
        if name not in streams and _is_of(found.baseline, query):
            streams[name] = _of_detector(name, found, watching)
    chosen = [one for name, one in streams.items() if query.has(*name)]
    chosen.sort(key=_order)
    return DriftState(
        version=DRIFT_VERSION,
        generated_at=now_us,
        interval=Interval(query.window.from_us, query.window.to_us),
        streams=tuple(chosen),
        notes=(*(() if chosen else (_nothing(known, query),)), *known.awaited),
    )


def says_something(state: DriftState) -> bool:
    """Say whether any stream has a figure, or a detector that follows it: not all are stale."""
    return any(one.value is not None or one.verdict == "watched" for one in state.streams)


class _Evidence(NamedTuple):
    """Where a detector stands, and at which level it alarms."""

    baseline: str
    at: int
    log_evidence: float | None
    log_alarm_at: float


def _evidence(known: Known, config: MonitorOptions, now_us: int) -> dict[StreamName, _Evidence]:
    found: dict[StreamName, _Evidence] = {}
    created = {(one.route, label(one)): one.created_at for one in known.baselines}
    by_route: dict[str, list[Detector]] = {}
    for detector in known.detectors:
        by_route.setdefault(detector.route, []).append(detector)
    for route, own in by_route.items():
        segments = sum(1 for one in own if one.segment)
        budget = Budget.of(config, len(own) - segments, segments)
        for one in own:
            origin = one.baseline, created.get((route, one.baseline), 0)
            followed = restored([one], origin, now_us)
            for stream in () if followed is None else followed.streams.values():
                held = stream.alarm
                log_evidence = stream.log_evidence if held is None else held.log_evidence
                level = math.log(budget.alarm_at(one.segment))
                name = route, one.segment, one.feature
                found[name] = _Evidence(one.baseline, one.updated_at, log_evidence, level)
    return found


def _watching(verdicts: Iterable[Verdict]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the other monitors of each route and feature."""
    found: dict[tuple[str, str], set[str]] = {}
    for verdict in verdicts:
        if verdict.monitor != MONITOR:
            found.setdefault((verdict.route, verdict.feature), set()).add(verdict.monitor)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def _is_of(baseline: str, query: DriftQuery) -> bool:
    return query.baseline in {None, baseline.rpartition("@")[0], baseline}


def _is_past(verdict: Verdict, evidence: Mapping[StreamName, _Evidence]) -> bool:
    """Say whether a segment's last word is old: it is judged only while something is held."""
    own = evidence.get((verdict.route, verdict.segment, verdict.feature))
    over = bool(verdict.segment) and not is_held(verdict)
    return over and own is not None and own.at > verdict.at


def _of_verdict(
    verdict: Verdict,
    evidence: Mapping[StreamName, _Evidence],
    watching: Mapping[tuple[str, str], tuple[str, ...]],
) -> StreamState:
    details = verdict.details
    own = evidence.get((verdict.route, verdict.segment, verdict.feature))
    log_evidence = _number(details.get("log_evidence"))
    level = _number(details.get("log_alarm_at"))
    if log_evidence is None and own is not None and own.baseline == verdict.baseline:
        log_evidence, level = own.log_evidence, own.log_alarm_at
    return StreamState(
        route=verdict.route,
        segment=verdict.segment,
        feature=verdict.feature,
        verdict=verdict.verdict,
        severity=verdict.severity,
        statistic=verdict.statistic,
        value=verdict.value,
        low=verdict.low,
        high=verdict.high,
        threshold=verdict.threshold,
        n_reference=verdict.n_reference,
        n_current=verdict.n_current,
        window=Interval(verdict.window_from, verdict.window_to),
        baseline=verdict.baseline,
        at=verdict.at,
        evidence=log_evidence,
        evidence_at=level,
        evidence_share=_share(log_evidence, level),
        evidence_source=str(details.get("evidence_source", "")),
        onset_at=_moment(details.get("onset_at")),
        opened_at=_moment(details.get("opened_at")),
        cause=str(details.get("cause", "")) if verdict.value is not None else _blind(verdict),
        monitors=watching.get((verdict.route, verdict.feature), ()),
    )


def _blind(verdict: Verdict) -> str:
    if has_ended(verdict):
        return f"compared no more: {verdict.details['ended']}"
    if not verdict.n_reference:
        return "the baseline has no usable rows of this feature"
    return f"{verdict.n_current} rows; {verdict.details.get('needed', 'more')} are needed"


def _of_detector(
    name: StreamName,
    found: _Evidence,
    watching: Mapping[tuple[str, str], tuple[str, ...]],
) -> StreamState:
    route, segment, feature = name
    return StreamState(
        route=route,
        segment=segment,
        feature=feature,
        verdict="watched",
        severity="none",
        statistic="",
        value=None,
        low=None,
        high=None,
        threshold=None,
        n_reference=0,
        n_current=0,
        window=None,
        baseline=found.baseline,
        at=found.at,
        evidence=found.log_evidence,
        evidence_at=found.log_alarm_at,
        evidence_share=_share(found.log_evidence, found.log_alarm_at),
        evidence_source="",
        onset_at=None,
        opened_at=None,
        cause="",
        monitors=watching.get((route, feature), ()),
    )


def _share(log_evidence: float | None, level: float | None) -> float | None:
    if log_evidence is None or level is None:
        return None
    return max(0.0, log_evidence / level)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(value: object) -> int | None:
    return value if isinstance(value, int) and value else None


def _order(stream: StreamState) -> tuple[object, ...]:
    return (
        stream.verdict != "drift",
        stream.severity != "critical",
        bool(stream.segment),
        -(stream.evidence_share or 0.0),
        stream.route,
        stream.segment,
        stream.feature,
    )


def _nothing(known: Known, query: DriftQuery) -> str:
    if not any(verdict.monitor == MONITOR for verdict in known.verdicts):
        since = from_us(query.window.from_us)
        return (
            f"no look at drift since {since}: a running server looks at every route that has a"
            " baseline; `monitor baseline list` shows those"
        )
    return "no stream of that route, feature, segment and baseline was looked at"
