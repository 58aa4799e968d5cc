"""The drift part of a report: one fresh look over the whole interval, feature by feature."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from monitors.baselines import Column, Reference, choose_baseline, label, read_references
from monitors.certainty import could_change
from monitors.drift import Comparison, TooFew, compare
from monitors.errors import MonitorError, NoBaseline
from monitors.observed import Window as Seen
from monitors.observed import missing_of, rows_of
from monitors.options import MonitorOptions
from monitors.report.family import FAMILY_LEVEL, share_level
from monitors.report.histograms import histogram
from monitors.report.history import measurements_of
from monitors.report.model import Finding, MissingShare
from monitors.report.parts import Bin
from monitors.seasons import of_window
from monitors.signals.table import Signal
from monitors.signals.watching import watched
from monitors.verdicts import Levels, Look, judge, levels_for
from monitors.windows import Window
from storage.features.counting import INPUT
from storage.records import Baseline, Verdict


class Windows(Protocol):
    """The interval's values by route and feature."""

    def prepare(self, route: str, baseline: str, references: Mapping[str, Reference]) -> None:
        """Count what the features of a route will be compared over."""
        ...

    def window(self, route: str, signal: Signal) -> Seen:
        """Return a feature's counts, or its rows."""
        ...

    def rows(self, route: str, feature: str) -> Column | None:
        """Return a feature's rows; None where they are too many, or gone."""
        ...


class RouteDrift(NamedTuple):
    """What one route gave; `baseline` is what it was compared with."""

    findings: tuple[Finding, ...]
    missing: tuple[MissingShare, ...]
    notes: tuple[str, ...]
    baseline: Baseline | None = None


class DriftLook(NamedTuple):
    """What routes are looked at with.

    Attributes
    ----------
    awaited : callable
        Says when a route's first days become its baseline; None where nobody promised that.
    detail : bool
        Make histograms.
    """

    at: int
    window: Window
    config: MonitorOptions
    awaited: Callable[[str], str | None]
    detail: bool = False


class _Seen(NamedTuple):
    """One feature, compared."""

    signal: Signal
    window: Seen
    found: Comparison | TooFew
    levels: Levels


def look_at_route(
    look: DriftLook, route: str, baselines: Sequence[Baseline], windows: Windows
) -> RouteDrift:
    """Compare every watched feature of a route; without a baseline, count missing values alone."""
    notes: list[str] = []
    references: Mapping[str, Reference] = {}
    chosen: Baseline | None = None
    try:
        chosen = choose_baseline(baselines, route)
        references = read_references(chosen)
        windows.prepare(route, label(chosen), references)
    except MonitorError as error:
        promised = look.awaited(route) if isinstance(error, NoBaseline) else None
        notes.append(f"no drift was computed: {promised or error}")
        chosen = None
    compared: list[_Seen] = []
    missing: list[MissingShare] = []
    for signal in (*watched(look.config), *_inputs(look.config, references)):
        seen = windows.window(route, signal)
        rows, gone = rows_of(seen), missing_of(seen)
        if signal.optional and gone == rows and signal.name not in references:
            continue
        if gone and not signal.optional:
            missing.append(MissingShare(route, signal.name, rows, gone, gone / rows))
        if chosen is None:
            continue
        found = _compare(look, signal, references, seen)
        levels = levels_for(look.config, signal.name)
        if isinstance(found, Comparison) and could_change(found, levels):
            found, note = _decide(look, route, signal, references, windows, found)
            notes += note
        compared.append(_Seen(signal, seen, found, levels))
    if chosen is None:
        return RouteDrift((), tuple(missing), tuple(notes))
    findings = _findings(look, chosen, references, compared)
    return RouteDrift(findings, tuple(missing), tuple(notes), chosen)


def _inputs(config: MonitorOptions, references: Mapping[str, Reference]) -> Iterator[Signal]:
    """Yield the inputs of models that the baseline has, as what is watched."""
    for name, reference in references.items():
        own = config.features.get(name)
        if name.startswith(INPUT) and (own is None or own.enabled):
            yield Signal(name, reference.kind, "", "", "", "")


def _findings(
    look: DriftLook,
    baseline: Baseline,
    references: Mapping[str, Reference],
    compared: Sequence[_Seen],
) -> tuple[Finding, ...]:
    found = [seen.found for seen in compared if isinstance(seen.found, Comparison)]
    shared = share_level(found)
    findings = []
    for seen in compared:
        one, adjusted = seen.found, None
        if isinstance(one, Comparison):
            one, adjusted = shared[one.feature]
        verdict = _judge(look, baseline, one, seen.levels)
        rows = rows_of(seen.window)
        finding = _finding(verdict, missing_of(seen.window) / rows if rows else None)
        bins: tuple[Bin, ...] = ()
        if look.detail and isinstance(one, Comparison):
            bins = histogram(*of_window(references[seen.signal.name], seen.window, look.window))
        findings.append(msgspec.structs.replace(finding, p_adjusted=adjusted, histogram=bins))
    return tuple(findings)


def _compare(
    look: DriftLook, signal: Signal, references: Mapping[str, Reference], seen: Seen
) -> Comparison | TooFew:
    config = look.config
    reference = references.get(signal.name)
    if reference is None:
        return TooFew(signal.name, signal.kind, 0, rows_of(seen), config.min_samples)
    alpha = FAMILY_LEVEL / max(1, len(references))
    reference, seen = of_window(reference, seen, look.window)
    return compare(reference, seen, alpha=alpha, min_samples=config.min_samples)


def _decide(
    look: DriftLook,
    route: str,
    signal: Signal,
    references: Mapping[str, Reference],
    windows: Windows,
    found: Comparison,
) -> tuple[Comparison | TooFew, list[str]]:
    """Read the rows of a feature whose buckets leave the verdict open."""
    rows = windows.rows(route, signal.name)
    if rows is not None:
        return _compare(look, signal, references, rows), []
    note = (
        f"`{route}/{signal.name}`: counts leave open whether it drifted, and its rows are too many"
        " to read at once, or gone; choose a shorter interval, or `--exact`"
    )
    return found, [note]


def _judge(
    look: DriftLook, baseline: Baseline, found: Comparison | TooFew, levels: Levels
) -> Verdict:
    at = Look(
        at=look.at,
        route=baseline.route,
        window=look.window,
        baseline=label(baseline),
        clear_after=look.config.clear_after,
    )
    # A report stands for itself: episodes that are open belong to its alerts.
    return judge(found, levels, at, None)


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
        measurements=measurements_of(details) if measured else {},
    )


def _too_few(verdict: Verdict) -> str:
    needed = verdict.details["needed"]
    if not verdict.n_reference:
        return "the baseline has no usable rows of this feature"
    if verdict.n_current < verdict.n_reference:
        return f"{verdict.n_current} rows; at least {needed} are needed"
    return f"{verdict.n_reference} rows in the baseline; at least {needed} are needed"
