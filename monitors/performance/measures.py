"""What the outcomes of a route are measured by, and how two parts of them differ.

Labels are classes, or numbers: where every prediction and label is a number, and labels are not a
few whole ones. Feedback without a prediction to compare with is a score.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from stats.confidence import LEVEL, Z, wilson
from stats.errors import NotEnoughSamples
from stats.results import Interval, Measurement
from stats.sequences import Moments, mean_difference, share_difference
from storage.outcomes import Kind, Tally

Metric = Literal["accuracy", "absolute_error", "score"]
MOST_CLASSES = 20
"""Different whole numbers up to which labels are classes."""
LEAST_ROWS = 20
"""Rows below which a mean has no interval."""


class Measured(NamedTuple):
    """A metric of some rows.

    Attributes
    ----------
    moments : Moments
        Rows, mean and variance of one row; of `accuracy` rows are 0 or 1.
    """

    metric: Metric
    moments: Moments

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean at this one look; None with too few rows."""
        rows = self.moments
        if self.metric == "accuracy":
            return wilson(self.hits, rows.n)
        if rows.n < LEAST_ROWS:
            return None
        half = Z * math.sqrt(rows.variance / (rows.n - 1))
        return Interval(rows.mean - half, rows.mean + half)

    @property
    def hits(self) -> int:
        """Rows that are 1, where the metric is a share."""
        return round(self.moments.mean * self.moments.n)

    @property
    def falls(self) -> bool:
        """Whether less of it is worse."""
        return is_better_high(self.metric)


def is_better_high(metric: str) -> bool:
    """Say whether more of a metric is better."""
    return metric != "absolute_error"


def are_numbers(kind: Kind) -> bool:
    """Say whether a route predicts numbers, not classes."""
    few = kind.whole and kind.labels <= MOST_CLASSES
    return 0 < kind.measured == kind.judged and not few


def measured_of(tally: Tally, *, numbers: bool) -> Iterator[Measured]:
    """Yield what is known of some rows: accuracy or the error's size, and the score."""
    if numbers and tally.measured:
        rows = Moments(tally.measured, tally.size, tally.size_variance)
        yield Measured("absolute_error", rows)
    elif not numbers and tally.judged:
        share = tally.correct / tally.judged
        yield Measured("accuracy", Moments(tally.judged, share, share * (1.0 - share)))
    if tally.scored:
        yield Measured("score", Moments(tally.scored, tally.score, tally.score_variance))


def merged(tallies: Iterable[Tally], value: str = "") -> Tally | None:
    """Return the tally of the rows of several; None of none."""
    found: Tally | None = None
    for one in tallies:
        found = one if found is None else _both(found, one)
    return None if found is None else found._replace(value=value)


def without(whole: Tally, part: Tally) -> Tally:
    """Return the tally of the rows that are not in a part."""
    scores = _less(_scores(whole), _scores(part))
    sizes = _less(_sizes(whole), _sizes(part))
    left = max(1, sizes.n)
    return whole._replace(
        value="",
        scored=scores.n,
        score=scores.mean,
        score_variance=scores.variance,
        judged=whole.judged - part.judged,
        correct=whole.correct - part.correct,
        measured=sizes.n,
        miss=(whole.measured * whole.miss - part.measured * part.miss) / left,
        size=sizes.mean,
        size_variance=sizes.variance,
        square=(whole.measured * whole.square - part.measured * part.square) / left,
    )


def difference(before: Measured, now: Measured, *, level: float = LEVEL) -> Measurement | None:
    """Return now less before, with an interval that holds at all looks together.

    None where an arm has too few rows.
    """
    m, n = before.moments, now.moments
    try:
        if now.metric == "accuracy":
            return share_difference(before.hits, m.n, now.hits, n.n, level=level)
        return mean_difference(m, n, level=level)
    except NotEnoughSamples:
        return None


def worse_by(metric: str, change: float) -> float:
    """Return how much worse a change of a metric is; negative is better."""
    return -change if is_better_high(metric) else change


def surely_worse(metric: str, interval: Interval) -> bool:
    """Say whether every change of an interval is for the worse."""
    return interval.high < 0.0 if is_better_high(metric) else interval.low > 0.0


def _scores(tally: Tally) -> Moments:
    return Moments(tally.scored, tally.score, tally.score_variance)


def _sizes(tally: Tally) -> Moments:
    return Moments(tally.measured, tally.size, tally.size_variance)


def _less(whole: Moments, part: Moments) -> Moments:
    n = whole.n - part.n
    if n <= 0:
        return Moments(0, 0.0, 0.0)
    mean = (whole.n * whole.mean - part.n * part.mean) / n
    squares = whole.n * (whole.variance + whole.mean**2) - part.n * (part.variance + part.mean**2)
    return Moments(n, mean, max(0.0, squares / n - mean * mean))


def _both(one: Tally, other: Tally) -> Tally:
    scores, sizes = _scores(one).merge(_scores(other)), _sizes(one).merge(_sizes(other))
    rows = max(1, sizes.n)
    return one._replace(
        scored=scores.n,
        score=scores.mean,
        score_variance=scores.variance,
        judged=one.judged + other.judged,
        correct=one.correct + other.correct,
        measured=sizes.n,
        miss=(one.measured * one.miss + other.measured * other.miss) / rows,
        size=sizes.mean,
        size_variance=sizes.variance,
        square=(one.measured * one.square + other.measured * other.square) / rows,
    )
