"""From verdicts to changes of episodes: one alert per (route, monitor), a digest of streams.

What opens on several routes in one look (`monitors.shock`) is one episode, of route `EVERYWHERE`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from monitors.embeddings.names import finding_of
from monitors.embeddings.together import together
from monitors.endings import has_ended
from monitors.silence import is_no_data, unrecovered
from monitors.windows import from_us
from storage.records import Verdict

EpisodeSeverity = Literal["warning", "critical"]
EpisodeKey = tuple[str, str]
"""(route, monitor)."""

EVERYWHERE = "*"
"""Route of an episode that several routes share."""
TOP_FEATURES = 5
DATA_VERSION = 1
MOST_MOVERS = 30
MOST_STREAMS = 200
_TOLD = (
    "cause",
    "alpha",
    "likelihood_p",
    "ks",
    "ks_p",
    "wasserstein_sd",
    "wasserstein_sd_low",
    "wasserstein_sd_high",
    "new_rate",
    "missing_rate",
    "evidence_source",
    "budget",
    "streams",
    "alarm_at",
    "alerts_30d",
    "log_evidence",
    "leading",
    "rising",
    "leading_cell",
    "changed",
    "carried_by",
    "directions",
    "sample_ids",
)
_TIMES = ("onset_at", "first_at")


@dataclass(frozen=True, slots=True)
class Change:
    """An episode opened, got worse, or ended.

    Attributes
    ----------
    kind : str
        `drift.opened`, `drift.escalated` or `drift.resolved`.
    subject : str
        The monitor; with `route` it names the episode.
    severity : str
        Worst of the drifted features; of a resolved episode, what it was.
    summary : str
        One sentence.
    data : dict
        JSON-safe digest, `version` 1: window, baseline, the features with the largest effects.
    """

    kind: str
    route: str
    subject: str
    severity: EpisodeSeverity
    summary: str
    data: dict[str, object]


def episodes(
    previous_open: Mapping[EpisodeKey, EpisodeSeverity], verdicts: Iterable[Verdict]
) -> list[Change]:
    """Return what one look changed; episodes of routes that it did not look at stay as they are.

    Parameters
    ----------
    previous_open : mapping
        Open episodes by (route, monitor), with their severity.
    verdicts : iterable of Verdict
        Of one look, any number of routes.
    """
    groups: dict[EpisodeKey, list[Verdict]] = {}
    for verdict in verdicts:
        shared = verdict.details.get("shared") is True
        route = EVERYWHERE if shared else verdict.route
        groups.setdefault((route, verdict.monitor), []).append(verdict)
    changes = (_change(key, previous_open.get(key), groups[key]) for key in sorted(groups))
    return [change for change in changes if change is not None]


def _change(key: EpisodeKey, was: EpisodeSeverity | None, verdicts: list[Verdict]) -> Change | None:
    drifted = together([v for v in verdicts if v.verdict == "drift"])
    severity = _worst(drifted)
    if was is None:
        return _made("opened", key, severity, drifted, verdicts) if drifted else None
    if drifted:
        worse = (was, severity) == ("warning", "critical")
        return _made("escalated", key, severity, drifted, verdicts) if worse else None
    # Silence is no recovery: a feature without data keeps its episode open.
    held = any(v.verdict != "ok" and v.details.get("open") is True for v in verdicts)
    # Nor is the end of comparing, but nothing else would ever end the episode.
    seen = any(v.verdict == "ok" or has_ended(v) for v in verdicts)
    return _made("resolved", key, was, [], verdicts) if seen and not held else None


def _worst(verdicts: list[Verdict]) -> EpisodeSeverity:
    return "critical" if any(v.severity == "critical" for v in verdicts) else "warning"


def _made(
    event: str,
    key: EpisodeKey,
    severity: EpisodeSeverity,
    drifted: list[Verdict],
    verdicts: list[Verdict],
) -> Change:
    route, monitor = key
    ranked = sorted(drifted, key=lambda v: (-(v.value or 0.0), v.feature))
    first = (ranked or verdicts)[0]
    return Change(
        kind=f"{monitor}.{event}",
        route=route,
        subject=monitor,
        severity=severity,
        summary=(
            _end(route, monitor, verdicts)
            if event == "resolved"
            else _summary(route, monitor, ranked)
        ),
        data={
            "version": DATA_VERSION,
            "route": route,
            "monitor": monitor,
            "baseline": first.baseline,
            "window": {"from": from_us(first.window_from), "to": from_us(first.window_to)},
            "features_watched": len({(v.route, finding_of(v.feature)) for v in verdicts}),
            "features_drifted": len({(v.route, v.feature) for v in ranked}),
            "features": [digest(v) for v in ranked[:TOP_FEATURES]],
            "drifted": [_stream(v, route) for v in ranked[:MOST_STREAMS]],
            **_shock(route, ranked),
            **({"no_data": True} if any(map(is_no_data, verdicts)) and not ranked else {}),
        },
    )


def _stream(verdict: Verdict, route: str) -> str:
    """Return the name of a stream within an episode."""
    of_route = f"{verdict.route}/" if route == EVERYWHERE else ""
    return f"{of_route}{verdict.feature}{_of(verdict)}"


def _shock(route: str, ranked: list[Verdict]) -> dict[str, object]:
    """Return what moved at once, if it did, and what else changed then."""
    found: dict[str, object] = {}
    moved = [v for v in ranked if v.details.get("common_shock") is True]
    if moved:
        found["common_shock"] = True
        found["movers"] = list(dict.fromkeys(v.feature for v in moved))[:MOST_MOVERS]
    if route == EVERYWHERE:
        found["routes"] = sorted({v.route for v in ranked})
    changed = _changed(ranked)
    return found | ({"changed": changed} if changed else {})


def _changed(ranked: list[Verdict]) -> list[str]:
    facts: dict[str, None] = {}
    for verdict in ranked:
        told = verdict.details.get("changed")
        facts |= dict.fromkeys(map(str, told)) if isinstance(told, list) else {}
    return list(facts)[:TOP_FEATURES]


def digest(verdict: Verdict) -> dict[str, object]:
    """Return what an alert says of one stream: where, effect, rows, evidence, since when, cause."""
    details = verdict.details
    return {
        "route": verdict.route,
        "feature": verdict.feature,
        "segment": verdict.segment,
        "kind": verdict.kind,
        "severity": verdict.severity,
        "statistic": verdict.statistic,
        "value": verdict.value,
        "low": verdict.low,
        "high": verdict.high,
        "threshold": verdict.threshold,
        "n_reference": verdict.n_reference,
        "n_current": verdict.n_current,
        **{name: details[name] for name in _TOLD if name in details},
        **{name: from_us(at) for name in _TIMES if isinstance(at := details.get(name), int)},
        "contributions": details.get("contributions", []),
    }


def _end(route: str, monitor: str, verdicts: list[Verdict]) -> str:
    calm = sum(1 for v in verdicts if v.verdict == "ok")
    silent = unrecovered(monitor, route, verdicts)
    if silent:
        return silent
    if not calm:
        why = next(str(v.details["ended"]) for v in verdicts if has_ended(v))
        return f"{monitor} {_where(route)} is compared no more: {why}"
    told = "all" if calm == len(verdicts) else f"{calm} of"
    rest = "" if calm == len(verdicts) else "; of the others there is not enough data"
    return (
        f"{monitor} {_where(route)} is over: {told} {len(verdicts)} features are as the"
        f" baseline{rest}"
    )


def _where(route: str) -> str:
    return "on several routes" if route == EVERYWHERE else f"on route `{route}`"


def _summary(route: str, monitor: str, ranked: list[Verdict]) -> str:
    lead = ranked[0]
    carried = lead.details.get("carried_by")
    cause = f"{lead.details.get('cause', '')}{f'; {carried}' if carried else ''}"
    n = lead.n_current
    told = f"`{lead.feature}`{_of(lead)} PSI {lead.value or 0.0:.3g} (n = {n}): {cause}"
    return f"{monitor} {_where(route)}: {_moved(route, ranked)}; {told}{_beside(ranked)}"


def _moved(route: str, ranked: list[Verdict]) -> str:
    features = list(dict.fromkeys(v.feature for v in ranked))
    if any(v.details.get("common_shock") is True for v in ranked):
        routes = f" of {len({v.route for v in ranked})} routes" if route == EVERYWHERE else ""
        return f"{len(features)} features{routes} moved at once"
    more = f" and {len(features) - TOP_FEATURES} more" if len(features) > TOP_FEATURES else ""
    return ", ".join(f"`{name}`" for name in features[:TOP_FEATURES]) + more


def _of(verdict: Verdict) -> str:
    return f" of {verdict.segment}" if verdict.segment else ""


def _beside(ranked: list[Verdict]) -> str:
    changed = _changed(ranked)
    return f"; at the same time {changed[0]}" if changed else ""
