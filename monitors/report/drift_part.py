"""The drift part of a report: one fresh look over the whole interval, feature by feature."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.baselines import Column, Reference, choose_baseline, label, read_references
from monitors.config import MonitorsConfig
from monitors.drift import TooFew, compare
from monitors.errors import MonitorError
from monitors.report.model import Finding, MissingShare
from monitors.schedule import watched
from monitors.signals.table import Signal
from monitors.verdicts import Look, judge, levels_for, per_look_alpha
from monitors.windows import Window, from_us
from storage.records import Baseline, Verdict

ReadColumn = Callable[[str, str], Column]
"""Route and feature to the interval's values."""


def _no_rows(route: str, feature: str) -> Column:  # noqa: ARG001 (a `ReadColumn`)
    return ()


class RouteDrift(NamedTuple):
    """What one route gave."""

    findings: tuple[Finding, ...]
    missing: tuple[MissingShare, ...]
    notes: tuple[str, ...]


class DriftLook(NamedTuple):
    """What a route is looked at with; `notes` say what was left out."""

    at: int
    window: Window
    config: MonitorsConfig
    read: ReadColumn = _no_rows
    notes: tuple[str, ...] = ()


def look_at_route(look: DriftLook, route: str, baselines: Sequence[Baseline]) -> RouteDrift:
    """Compare every watched feature of a route; without a baseline, count missing values alone.

    One column is in memory at a time.
    """
    notes = list(look.notes)
    references: Mapping[str, Reference] = {}
    chosen: Baseline | None = None
    try:
        chosen = choose_baseline(baselines, route)
        references = read_references(chosen)
        notes += _overlap(chosen, look.window)
    except MonitorError as error:
        notes.append(f"no drift was computed: {error}")
        chosen = None
    findings: list[Finding] = []
    missing: list[MissingShare] = []
    for signal in watched(look.config):
        column = look.read(route, signal.name)
        gone = count_missing(column)
        if gone:
            share = gone / len(column)
            missing.append(MissingShare(route, signal.name, len(column), gone, share))
        if chosen is not None:
            verdict = _judge(look, signal, chosen, references, column)
            findings.append(_finding(verdict, gone / len(column) if len(column) else None))
    return RouteDrift(tuple(findings), tuple(missing), tuple(notes))


def count_missing(column: Column) -> int:
    """Return the rows that are NaN or None."""
    if isinstance(column, np.ndarray):
        return int(np.isnan(column).sum())
    return sum(1 for value in column if value is None)


def _judge(
    look: DriftLook,
    signal: Signal,
    baseline: Baseline,
    references: Mapping[str, Reference],
    column: Column,
) -> Verdict:
    config = look.config
    alpha = per_look_alpha(config.false_alarms_per_30d, config.every, len(references))
    reference = references.get(signal.name)
    found = (
        TooFew(signal.name, signal.kind, 0, len(column), config.min_samples)
        if reference is None
        else compare(reference, column, alpha=alpha, min_samples=config.min_samples)
    )
    at = Look(
        at=look.at,
        route=baseline.route,
        window=look.window,
        baseline=label(baseline),
        clear_after=config.clear_after,
    )
    # A report stands for itself: episodes that are open belong to its alerts.
    return judge(found, levels_for(config, signal.name), at, None)


def _finding(verdict: Verdict, missing_share: float | None) -> Finding:
    details = verdict.details
    measured = verdict.value is not None
    return Finding(
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
        missing_share=missing_share,
        baseline=verdict.baseline,
        cause=str(details["cause"]) if measured else _too_few(verdict),
        measurements={
            name: float(value)
            for name, value in details.items()
            if measured and isinstance(value, float) and np.isfinite(value)
        },
    )


def _too_few(verdict: Verdict) -> str:
    needed = verdict.details["needed"]
    if not verdict.n_reference:
        return "the baseline has no usable rows of this feature"
    if verdict.n_current < verdict.n_reference:
        return f"{verdict.n_current} rows; at least {needed} are needed"
    return f"{verdict.n_reference} rows in the baseline; at least {needed} are needed"


def _overlap(baseline: Baseline, window: Window) -> list[str]:
    shared = min(baseline.window_to, window.to_us) - max(baseline.window_from, window.from_us)
    if shared <= 0:
        return []
    period = f"{from_us(baseline.window_from)} to {from_us(baseline.window_to)}"
    named = f"baseline `{label(baseline)}` of route `{baseline.route}`"
    return [f"{named} ({period}) overlaps this interval: drift is understated"]
