"""One explanation: since when, what moved, who carries it, and why it may have."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from monitors.asked import ROWS_TO_READ
from monitors.baselines import Column, Reference, label
from monitors.counted import Features
from monitors.drift import Comparison, TooFew, compare
from monitors.explain import causes, decompose
from monitors.explain.deep import MOST_ROWS, TwoWindows, deep_look
from monitors.explain.model import (
    Carrier,
    Deep,
    Effect,
    Explanation,
    KeySplit,
    Mover,
    Onset,
    SegmentPart,
)
from monitors.explain.movers import grown, movers
from monitors.explain.onset import ChangePoint, change_point
from monitors.explain.rows import FeatureRows, Parts
from monitors.explain.state import DriftQuery
from monitors.observed import CellCounts
from monitors.observed import Window as Seen
from monitors.options import MonitorOptions
from monitors.report.histograms import histogram
from monitors.report.parts import Interval
from monitors.seasons import of_window
from monitors.signals.table import SIGNALS_BY_NAME, Signal
from monitors.windows import SECOND_US, Window
from stats.arrays import CountArray
from stats.results import Measurement
from storage import monitor_reads
from storage.cell_tables import SlotCounts
from storage.exact import newest_starts
from storage.features.counting import INPUT
from storage.features.reading import known_inputs
from storage.log_reader import LogReader
from storage.reader import Scope
from storage.reader import Window as ReadWindow
from storage.records import Baseline, Verdict

ALPHA = 0.05
"""Level of the tests whose thresholds are not shown."""
FOUND_WITHIN_US = 6 * 3_600 * SECOND_US
"""How long after the onset other monitors may have found what began then."""


class Subject(NamedTuple):
    """One stream beside its baseline.

    Attributes
    ----------
    reference : Reference
        Of the segment, if it is one.
    features : tuple of str
        All that the baseline has.
    """

    baseline: Baseline
    reference: Reference
    segment: str
    features: tuple[str, ...]


class _Found(NamedTuple):
    """What counts show: the reference of these hours, the rows of now, since when."""

    reference: Reference
    now: Window
    counts: CountArray
    change: ChangePoint | None
    slots: SlotCounts


def explain_one(
    log: LogReader,
    subject: Subject,
    query: DriftQuery,
    config: MonitorOptions,
    known: tuple[Verdict | None, Sequence[Verdict]],
) -> Explanation:
    """Explain one stream.

    Parameters
    ----------
    known : tuple of Verdict or None, and sequence of Verdict
        The stream's newest verdict, and those of all streams and monitors.
    """
    verdict, others = known
    rows = FeatureRows(log, subject.baseline, subject.reference, subject.segment)
    found = _found(rows, query.window)
    compared = _compared(log, subject, found, config)
    measured = compared if isinstance(compared, Comparison) else None
    moment = _moment(found, query.window)
    parts = {
        key: split
        for key, part in (rows.parts(found.now) if found.counts.any() else {}).items()
        if (split := _divided(key, part)) is not None
    }
    carriers = decompose.carriers(parts)
    events = monitor_reads.rollout_events(
        log.connection,
        ReadWindow(moment.first - causes.HOUR_US, moment.last + causes.HOUR_US),
        subject.baseline.route,
    )
    stated = tuple(causes.retyped(rows, moment)) + causes.causes_of(
        measured,
        carriers,
        causes.rollouts_near(events, moment),
        causes.changed_then(rows, moment) if found.change is not None else [],
    )
    name = subject.baseline.route, subject.segment, subject.reference.feature
    return Explanation(
        route=subject.baseline.route,
        segment=subject.segment,
        feature=subject.reference.feature,
        kind=subject.reference.kind,
        verdict="" if verdict is None else verdict.verdict,
        severity="none" if verdict is None else verdict.severity,
        baseline=label(subject.baseline),
        then=Interval(subject.baseline.window_from, subject.baseline.window_to),
        now=Interval(found.now.from_us, found.now.to_us),
        n_reference=int(found.reference.counts.sum()),
        n_current=int(found.counts.sum()),
        dispersion=subject.reference.dispersion,
        effects=() if measured is None else tuple(_effects(measured)),
        onset=_onset(found, query.window, verdict),
        movers=_movers(found),
        histogram=histogram(found.reference, CellCounts(found.counts)),
        carriers=tuple(_carrier(one) for one in carriers),
        splits=tuple(_split(one) for one in parts.values()),
        examples=tuple(rows.examples(found.now, _grown(found))),
        cause=stated[0].text if stated else "",
        causes=stated,
        related=causes.related_to(_all_known(log, others, moment, name[0]), name, moment),
        deep=_deep(log, subject, found) if query.deep else None,
        notes=tuple(_notes(rows, found, query.window, compared)),
    )


def _found(rows: FeatureRows, window: Window) -> _Found:
    slots = rows.slots(window)
    whole = slots.counts.sum(axis=0)
    reference, _ = of_window(rows.reference, CellCounts(whole), window)
    change = change_point(reference.counts, slots.counts, dispersion=reference.dispersion)
    if change is None or not change.slot:
        return _Found(reference, window, whole, change, slots)
    now = Window(int(slots.starts[change.slot]), window.to_us)
    counts = slots.counts[change.slot :].sum(axis=0)
    part, _ = of_window(rows.reference, CellCounts(counts), now)
    return _Found(part, now, counts, change, slots)


def _moment(found: _Found, window: Window) -> causes.Moment:
    change, starts = found.change, found.slots.starts
    if change is None:
        return causes.Moment(window.from_us, window.from_us, window.from_us, window.to_us)
    first, last = int(starts[change.first]), int(starts[change.last])
    return causes.Moment(int(starts[change.slot]), first, last, window.to_us)


def _onset(found: _Found, window: Window, verdict: Verdict | None) -> Onset:
    told = None if verdict is None else verdict.details.get("onset_at")
    detector_at = told if isinstance(told, int) and told else None
    if found.change is None:
        return Onset(None, None, None, before=False, detector_at=detector_at)
    moment = _moment(found, window)
    before = found.change.slot == 0
    at = max(window.from_us, moment.at)
    return Onset(at, max(window.from_us, moment.first), moment.last, before, detector_at)


def _compared(
    log: LogReader, subject: Subject, found: _Found, config: MonitorOptions
) -> Comparison | TooFew:
    least = config.min_samples
    reference, seen = found.reference, _seen(log, subject, found)
    if not subject.segment:
        reference, seen = of_window(subject.reference, seen, found.now)
    return compare(reference, seen, alpha=ALPHA, min_samples=least)


def _seen(log: LogReader, subject: Subject, found: _Found) -> Seen:
    """Return the feature's values where all rows are meant: medians name a change of unit."""
    if subject.segment:
        return CellCounts(found.counts)
    name, route = subject.reference.feature, subject.baseline.route
    window = ReadWindow(found.now.from_us, found.now.to_us)
    scope = Scope(window, route=route)
    if log.coverage(window, exact=True).window == window and _rows(log, scope) <= ROWS_TO_READ:
        if name.startswith(INPUT) and not known_inputs(log.connection, [name]):
            return ()
        return log.feature_columns(route, [name], *window)[name]
    signal = SIGNALS_BY_NAME.get(name, Signal(name, subject.reference.kind, "", "", name, ""))
    values = log.values(scope, [name]) if signal.kind == "numeric" else ()
    words = log.categories(scope, [name]) if signal.kind == "categorical" else ()
    # The roll-ups' cells are of whole slots; these are of the same rows as all the rest.
    cells = {name: {cell: rows for cell, rows in enumerate(found.counts.tolist()) if rows}}
    return Features.of(values, words).window(route, signal, cells)


def _rows(log: LogReader, scope: Scope) -> int:
    return sum(row.n for row in log.counts(scope))


def _effects(measured: Comparison) -> Iterator[Effect]:
    yield _effect("psi", measured.psi)
    if measured.wasserstein_sd is not None:
        yield _effect("wasserstein_sd", measured.wasserstein_sd)
    if measured.ks is not None:
        yield _effect("ks", measured.ks)
    yield _effect("missing_change", measured.missing)
    if measured.new is not None:
        yield _effect("new_rate", measured.new)


def _effect(name: str, found: Measurement) -> Effect:
    return Effect(name, found.value, found.interval.low, found.interval.high)


def _movers(found: _Found) -> tuple[Mover, ...]:
    reference = found.reference
    if not (found.counts.any() and reference.counts.any()):
        return ()
    return movers(reference.cells, reference.counts, found.counts, dispersion=reference.dispersion)


def _grown(found: _Found) -> list[int]:
    if not (found.counts.any() and found.reference.counts.any()):
        return []
    return grown(found.reference.counts, found.counts)


def _carrier(one: decompose.Carrier) -> Carrier:
    return Carrier(one.kind, f"{one.key}={one.value}", one.share, one.weight_reference, one.weight)


def _divided(key: str, part: Parts) -> decompose.Split | None:
    return decompose.split(key, part.reference, part.current, weighed=part.weighed)


def _split(one: decompose.Split) -> KeySplit:
    parts = tuple(
        SegmentPart(
            segment=f"{one.key}={part.value}",
            n_reference=part.n_reference,
            n_current=part.n_current,
            weight_reference=part.weight_reference,
            weight=part.weight,
            within=part.within,
            low=part.interval.low,
            high=part.interval.high,
            mix=part.mix,
            moved=part.moved,
        )
        for part in one.parts
    )
    return KeySplit(one.key, one.total, one.within, one.mix, parts)


def _all_known(
    log: LogReader, known: Sequence[Verdict], moment: causes.Moment, route: str
) -> list[Verdict]:
    """Return the newest verdicts, and those about the onset that newer ones have replaced."""
    about = ReadWindow(moment.first - causes.HOUR_US, moment.last + FOUND_WITHIN_US)
    newest = [verdict for verdict in known if verdict.route in {route, "*"}]
    told = {(v.monitor, v.segment, v.feature) for v in newest if causes.began(v) is not None}
    return newest + [
        verdict
        for verdict in monitor_reads.newest_verdicts(log.connection, about, route)
        if (verdict.monitor, verdict.segment, verdict.feature) not in told
    ]


def _deep(log: LogReader, subject: Subject, found: _Found) -> Deep:
    key, _, value = subject.segment.partition("=")
    if key not in {"", "variant"}:
        return Deep(MOST_ROWS, (), None, (), "rows are read of all rows, or of a variant")
    baseline = subject.baseline
    source = baseline.source
    then = None
    if source.get("kind") not in {"file", "columns"} and baseline.window_from < baseline.window_to:
        then = Window(baseline.window_from, baseline.window_to)
    named = source.get("variant", value or None)
    before = _columns(log, subject, then, None if named is None else str(named))
    return deep_look(
        subject.reference, TwoWindows(before, _columns(log, subject, found.now, value or None))
    )


def _columns(
    log: LogReader, subject: Subject, window: Window | None, variant: str | None
) -> Mapping[str, Column]:
    """Return the newest rows of a window; empty where it has none, or they are gone."""
    if window is None:
        return {}
    route = subject.baseline.route
    is_input = subject.reference.feature.startswith(INPUT)
    names = [name for name in subject.features if name.startswith(INPUT) == is_input]
    if is_input:
        names = known_inputs(log.connection, names)
    newest = newest_starts(log.connection, route, MOST_ROWS, window.to_us)
    first = window.from_us if newest is None else max(window.from_us, newest.from_us)
    columns = log.feature_columns(route, names, first, window.to_us, variant=variant)
    return columns if columns and len(next(iter(columns.values()))) else {}


def _notes(
    rows: FeatureRows, found: _Found, window: Window, compared: Comparison | TooFew
) -> Iterator[str]:
    if isinstance(compared, TooFew):
        yield f"{compared.n_current} rows now; {compared.needed} are needed for distances"
    if not rows.has_facts(window):
        yield "the rows of the interval have expired: counts alone, and no examples"
    if found.change is None and found.counts.any():
        yield (
            "no moment parts the interval: counts by five minutes do not show when its shares"
            " left those of the baseline, if they did"
        )
    if found.reference is not rows.reference:
        yield "then: the same hours of the week; segments are compared over all of its hours"
    baseline = rows.baseline
    logged = baseline.source.get("kind") not in {"file", "columns"}
    shared = min(baseline.window_to, found.now.to_us) - max(baseline.window_from, found.now.from_us)
    if logged and shared > 0:
        yield "the baseline's own window overlaps the rows of now: the change is understated"
    key = rows.segment.partition("=")[0]
    if key and rows.segment not in rows.reference.segments:
        yield f"the baseline has no rows of `{rows.segment}`: it is compared with others"
