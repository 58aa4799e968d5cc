"""What became of the predictions of an interval: from feedback in the log to the report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.asked import ReportQuery
from monitors.performance.measures import (
    Measured,
    are_numbers,
    difference,
    measured_of,
    merged,
    surely_worse,
    without,
    worse_by,
)
from monitors.report.model import RouteTotal
from monitors.report.parts import Difference
from monitors.report.performance_model import (
    Calibration,
    ClassOutcome,
    ConfidenceBin,
    Estimated,
    Gap,
    Outcome,
    Performance,
)
from monitors.windows import SECOND_US
from stats.calibration import (
    LEAST_LABELS,
    Graded,
    calibration_error,
    expected_accuracy,
    isotonic,
    reliability,
)
from stats.confidence import LEVEL, wilson
from storage import outcomes
from storage.log_reader import LogReader
from storage.outcomes import ClassCount, GridCount, Kind, Tally
from storage.reader import Window

MOST_SEGMENTS = 20
"""Values of a key that are looked at, those with most feedback."""
LEAST_ROWS = 30
"""Rows of a segment that is looked at."""
CALIBRATED_US = 30 * 86_400 * SECOND_US
"""How far before the interval labels calibrate confidence."""
_LATEST_US = 253_402_300_000_000_000
VARIANT = "variant"

Tallies = Mapping[str, Sequence[Tally]]
"""By key of segments."""


class Found(NamedTuple):
    """Performance by route, and how variants differ in it."""

    routes: tuple[Performance, ...] = ()
    differences: tuple[Difference, ...] = ()


class _Read(NamedTuple):
    kinds: Mapping[str, Kind]
    tallies: Tallies
    classes: Sequence[ClassCount]
    graded: Sequence[GridCount]


def performance_of(
    log: LogReader, query: ReportQuery, keys: Sequence[str], totals: Sequence[RouteTotal]
) -> Found:
    """Read the outcomes of predictions that began in the interval; labels may be of any time since.

    Parameters
    ----------
    keys : sequence of str
        Keys of segments, as `monitors.segments` names them.
    """
    # Feedback is joined to predictions, not to the models of their route.
    if query.model is not None or not totals:
        return Found()
    connection, window = log.connection, query.window
    period = Window(window.from_us, window.to_us)
    estimated = _estimates(log, query)
    read = _Read({}, {}, (), ())
    given = Window(window.from_us, _LATEST_US)
    if outcomes.has_feedback(connection, given):
        read = _read(log, outcomes.Asked(given, period, query.route, _keys(keys)))
    found = [_performance(total, read, estimated.get(total.route)) for total in totals]
    parts = (_variants(kind, read.tallies[VARIANT]) for kind in read.kinds.values())
    return Found(
        tuple(one for one in found if one.told or one.estimated is not None),
        tuple(difference for part in parts for difference in part),
    )


def _keys(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((VARIANT, *keys)))


def _read(log: LogReader, asked: outcomes.Asked) -> _Read:
    connection = log.connection
    kinds = {kind.route: kind for kind in outcomes.join(connection, asked)}
    return _Read(
        kinds,
        {key: outcomes.tallies(connection, key) for key in asked.keys},
        outcomes.class_counts(connection),
        outcomes.labelled_grid(connection),
    )


def _performance(total: RouteTotal, read: _Read, estimated: Estimated | None) -> Performance:
    kind = read.kinds.get(total.route)
    if kind is None:
        return Performance(total.route, total.n, 0, None, None, estimated=estimated)
    numbers = are_numbers(kind)
    variants = [one for one in read.tallies[VARIANT] if one.route == total.route]
    whole = merged(variants)
    parts = variants if len(variants) > 1 else []
    return Performance(
        route=total.route,
        n=total.n,
        told=kind.told,
        coverage=min(1.0, kind.told / total.n) if total.n else None,
        delay_p50_s=kind.delay_p50_s,
        outcomes=tuple(
            outcome
            for tally in ([] if whole is None else [whole, *parts])
            for outcome in _outcomes(tally, numbers=numbers)
        ),
        classes=() if numbers else tuple(_classes(total.route, read.classes)),
        calibration=None if numbers else _calibration(total.route, read.graded),
        estimated=estimated,
        gaps=() if whole is None else tuple(_gaps(whole, read.tallies, numbers=numbers)),
    )


def _outcomes(tally: Tally, *, numbers: bool) -> Iterator[Outcome]:
    for found in measured_of(tally, numbers=numbers):
        interval, rows = found.interval, found.moments
        low, high = (None, None) if interval is None else (interval.low, interval.high)
        yield Outcome(tally.value, found.metric, rows.mean, low, high, rows.n)
    if numbers and tally.measured:
        n = tally.measured
        yield Outcome(tally.value, "bias", tally.miss, None, None, n)
        yield Outcome(tally.value, "rmse", max(0.0, tally.square) ** 0.5, None, None, n)


def _classes(route: str, counts: Sequence[ClassCount]) -> Iterator[ClassOutcome]:
    own = [count for count in counts if count.route == route]
    labelled = sum(count.labelled for count in own)
    for count in own:
        precision = wilson(count.both, count.predicted) if count.predicted else None
        recall = wilson(count.both, count.judged) if count.judged else None
        yield ClassOutcome(
            label=count.name,
            n=count.labelled,
            share=count.labelled / labelled if labelled else 0.0,
            predicted=count.predicted,
            correct=count.both,
            precision=count.both / count.predicted if precision else None,
            precision_low=None if precision is None else precision.low,
            precision_high=None if precision is None else precision.high,
            recall=count.both / count.judged if recall else None,
            recall_low=None if recall is None else recall.low,
            recall_high=None if recall is None else recall.high,
        )


def _calibration(route: str, grid: Sequence[GridCount]) -> Calibration | None:
    own = [count for count in grid if count.route == route]
    n = sum(count.n for count in own)
    if not n:
        return None
    bins = reliability(_graded(own))
    return Calibration(
        n=n,
        ece=calibration_error(bins),
        brier=sum(count.brier for count in own) / n,
        log_loss=sum(count.log_loss for count in own) / n,
        bins=tuple(
            ConfidenceBin(
                label=f"{bin_.confidence:.3f}",
                n=bin_.n,
                confidence=bin_.confidence,
                accuracy=bin_.accuracy,
                low=bin_.interval.low,
                high=bin_.interval.high,
            )
            for bin_ in bins
        ),
    )


def _graded(grid: Sequence[GridCount]) -> Graded:
    n = np.array([count.n for count in grid], dtype=np.float64)
    sums = np.array([count.confidence for count in grid], dtype=np.float64)
    hits = np.array([count.correct for count in grid], dtype=np.float64)
    return Graded(n, sums / n, hits)


def _estimates(log: LogReader, query: ReportQuery) -> dict[str, Estimated]:
    """Estimate accuracy from confidence, as labels known before the interval calibrate it."""
    start, end = query.window.from_us, query.window.to_us
    past = Window(max(0, start - CALIBRATED_US), start)
    if not outcomes.has_feedback(log.connection, past):
        return {}
    sure = outcomes.confidence_grid(log.connection, Window(start, end), query.route)
    if not sure:
        return {}
    outcomes.join(log.connection, outcomes.Asked(past, past, query.route))
    labelled = outcomes.labelled_grid(log.connection)
    found = {}
    for route in {count.route for count in sure}:
        graded = _graded([count for count in labelled if count.route == route])
        if graded.rows < LEAST_LABELS:
            continue
        now = _graded([count for count in sure if count.route == route])
        value = expected_accuracy(isotonic(graded), now.n, now.confidence)
        interval = value.interval
        found[route] = Estimated(value.value, interval.low, interval.high, value.n, graded.rows)
    return found


def _gaps(whole: Tally, tallies: Tallies, *, numbers: bool) -> Iterator[Gap]:
    """Yield the worst segment by each metric, against all other rows of the route."""
    parts = [
        (f"{key}={tally.value}", tally)
        for key, found in tallies.items()
        for tally in [one for one in found if one.route == whole.route][:MOST_SEGMENTS]
    ]
    for of_whole in measured_of(whole, numbers=numbers):
        metric = of_whole.metric
        compared = [
            (segment, part, rest)
            for segment, tally in parts
            for part in measured_of(tally, numbers=numbers)
            for rest in measured_of(without(whole, tally), numbers=numbers)
            if part.metric == rest.metric == metric
            and min(part.moments.n, rest.moments.n) >= LEAST_ROWS
        ]
        # All that were looked at share the one error: the worst of many looks bad by luck.
        level = 1.0 - (1.0 - LEVEL) / max(1, len(compared))
        found = [_gap(names, level, len(compared)) for names in compared]
        gaps = [gap for gap in found if gap is not None]
        if gaps:
            yield max(gaps, key=_badness)


def _badness(gap: Gap) -> tuple[bool, float]:
    return gap.verdict == "worse", worse_by(gap.metric, gap.difference)


def _gap(compared: tuple[str, Measured, Measured], level: float, segments: int) -> Gap | None:
    segment, part, rest = compared
    found = difference(rest, part, level=level)
    if found is None:
        return None
    worse = surely_worse(part.metric, found.interval)
    return Gap(
        segment=segment,
        metric=part.metric,
        value=part.moments.mean,
        value_rest=rest.moments.mean,
        difference=found.value,
        low=found.interval.low,
        high=found.interval.high,
        n=part.moments.n,
        n_rest=rest.moments.n,
        segments=segments,
        verdict="worse" if worse else "no difference seen",
    )


def _variants(kind: Kind, tallies: Sequence[Tally]) -> Iterator[Difference]:
    """Compare variants with the one of most labels; their scores are compared elsewhere."""
    numbers = are_numbers(kind)
    found = {
        tally.value: next(
            (m for m in measured_of(tally, numbers=numbers) if m.metric != "score"), None
        )
        for tally in tallies
        if tally.route == kind.route
    }
    arms = {variant: measured for variant, measured in found.items() if measured is not None}
    if len(arms) < 2:
        return
    largest = max(arms, key=lambda variant: arms[variant].moments.n)
    before = arms.pop(largest)
    for variant, now in arms.items():
        change = difference(before, now)
        yield Difference(
            route=kind.route,
            variant=variant,
            against=largest,
            metric=now.metric,
            value_before=before.moments.mean,
            value=now.moments.mean,
            difference=None if change is None else change.value,
            low=None if change is None else change.interval.low,
            high=None if change is None else change.interval.high,
            n_before=before.moments.n,
            n=now.moments.n,
        )
