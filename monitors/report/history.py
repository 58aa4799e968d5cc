"""What monitors, rollouts and time left in the log, as parts of a report."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from monitors.report.model import Finding, ReportedAlert
from monitors.report.parts import (
    BaselineInForce,
    Check,
    Interval,
    Rollout,
    Step,
    Timeline,
)
from monitors.windows import SECOND_US, Window, to_us
from stats.buckets import Sketch
from storage.log import TimelineRow
from storage.monitor_reads import RolloutEvent
from storage.records import Alert, Baseline, Verdict

DRIFT = "drift"
MOST_STEPS = 84
"""Steps of a timeline: a week in steps of two hours."""
_STEPS_S = (300, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 7 * 86_400, 30 * 86_400)
_NANO = 1e-9


def checks_of(verdicts: Sequence[Verdict], monitor: str) -> tuple[Check, ...]:
    """Return a monitor's verdicts, breaches first."""
    checks = [_check(verdict) for verdict in verdicts if verdict.monitor == monitor]
    order = {"breach": 0, "drift": 0, "stale": 2, "not_enough_data": 3}
    severity = {"critical": 0, "warning": 1, "none": 2}
    return tuple(sorted(checks, key=lambda c: (order.get(c.verdict, 1), severity[c.severity])))


def _check(verdict: Verdict) -> Check:
    return Check(
        monitor=verdict.monitor,
        route=verdict.route,
        subject=verdict.feature,
        segment=verdict.segment,
        verdict=verdict.verdict,
        severity=verdict.severity,
        statistic=verdict.statistic,
        value=verdict.value,
        low=verdict.low,
        high=verdict.high,
        threshold=verdict.threshold,
        n=verdict.n_current,
        at=verdict.at,
        window=Interval(verdict.window_from, verdict.window_to),
        cause=_cause(verdict),
        measurements=measurements_of(verdict.details),
    )


def segment_findings(verdicts: Sequence[Verdict]) -> tuple[Finding, ...]:
    """Return what the running monitor last said of segments that drift."""
    return tuple(
        Finding(
            route=verdict.route,
            feature=verdict.feature,
            kind=verdict.kind,
            verdict=verdict.verdict,
            severity=verdict.severity,
            statistic=verdict.statistic,
            value=verdict.value,
            low=verdict.low,
            high=verdict.high,
            threshold=verdict.threshold,
            n_reference=verdict.n_reference,
            n_current=verdict.n_current,
            missing_share=None,
            baseline=verdict.baseline,
            cause=_cause(verdict),
            measurements=measurements_of(verdict.details),
            segment=verdict.segment,
            window=Interval(verdict.window_from, verdict.window_to),
            onset_at=_time(verdict.details, "onset_at"),
        )
        for verdict in verdicts
        if verdict.monitor == DRIFT and verdict.segment and verdict.verdict == DRIFT
    )


def onsets_of(verdicts: Sequence[Verdict]) -> dict[tuple[str, str], int]:
    """Return when the features of routes began to drift, where the monitor says they did."""
    found: dict[tuple[str, str], int] = {}
    for verdict in verdicts:
        onset = _time(verdict.details, "onset_at")
        if onset is not None and (verdict.monitor, verdict.segment) == (DRIFT, ""):
            found[verdict.route, verdict.feature] = onset
    return found


def measurements_of(details: Mapping[str, object]) -> dict[str, float]:
    """Return the finite numbers among a verdict's details; times are none."""
    return {
        name: float(value)
        for name, value in details.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and not name.endswith("_at")
    }


def rollouts_of(events: Sequence[RolloutEvent]) -> tuple[Rollout, ...]:
    """Return the steps of rollouts."""
    return tuple(Rollout(e.at, e.route, e.event, e.actor, e.summary) for e in events)


def reported(alert: Alert) -> ReportedAlert:
    """Return an alert without its data."""
    return ReportedAlert(
        id=alert.id,
        kind=alert.kind,
        route=alert.route,
        subject=alert.subject,
        state=alert.state,
        severity=alert.severity,
        opened_at=alert.opened_at,
        resolved_at=alert.resolved_at,
        summary=alert.summary,
        onset_at=min(_onsets(alert.data), default=None),
    )


def _onsets(data: Mapping[str, object]) -> Iterator[int]:
    """Yield when the features of an alert began to drift."""
    features = data.get("features")
    for feature in features if isinstance(features, list) else ():
        onset = feature.get("onset_at") if isinstance(feature, dict) else None
        with suppress(ValueError):
            yield to_us(datetime.fromisoformat(str(onset)))


def is_about(alert: Alert, route: str | None) -> bool:
    """Say whether an alert is about a route; those of several routes list them."""
    routes = alert.data.get("routes")
    named = isinstance(routes, list) and route in routes
    return route is None or alert.route == route or named


def in_force(baseline: Baseline) -> BaselineInForce:
    """Return what a report tells of a baseline."""
    return BaselineInForce(
        route=baseline.route,
        name=baseline.name,
        version=baseline.version,
        created_at=baseline.created_at,
        source=", ".join(_source(baseline.source)),
        window=Interval(baseline.window_from, baseline.window_to),
        rows=baseline.rows,
        features=len(baseline.cells),
    )


def _source(source: Mapping[str, object]) -> Iterator[str]:
    """Yield the kind of a source, and what narrows it."""
    yield str(source.get("kind", "period"))
    for name in ("file", "variant"):
        if source.get(name):
            yield f"{name} {source[name]}"
    if source.get("seasonal") is True:
        yield "by hour of the week"


def step_of(window: Window) -> int:
    """Return the shortest step, in microseconds, of which a window has few enough."""
    for step_s in _STEPS_S:
        if window.length_s <= step_s * MOST_STEPS:
            return step_s * SECOND_US
    return _STEPS_S[-1] * SECOND_US


def timeline_of(rows: Sequence[TimelineRow], step_us: int) -> Timeline:
    """Read percentiles from the buckets of every step."""
    return Timeline(step_us / SECOND_US, tuple(_step(row) for row in rows))


def _step(row: TimelineRow) -> Step:
    sketch = Sketch.of_counts(row.buckets, row.counts)
    p50, p95 = sketch.values_at((0.5, 0.95)) if sketch.n else (None, None)
    cost = row.cost_nano_usd * _NANO if row.cost_known else None
    return Step(row.at, row.route, row.n, row.failed, cost, p50, p95)


def _cause(verdict: Verdict) -> str:
    cause = verdict.details.get("cause")
    return cause if isinstance(cause, str) else ""


def _time(details: Mapping[str, object], name: str) -> int | None:
    value = details.get(name)
    return value if isinstance(value, int) and value > 0 else None
