"""ADWIN: a window over a stream that drops its older part when the means of two parts differ.

For comparison: the benchmarks run it beside the detector of `stats.detector`.
"""

import math
from dataclasses import dataclass, field

from stats.errors import InvalidInput

BUCKETS = 5
"""Buckets of each size that are kept before the oldest two are merged."""
LEAST_PART = 5
"""Values that each part of the window must have."""


@dataclass(frozen=True, slots=True)
class Adwin:
    """The window: buckets of 1, 2, 4, ... values.

    Attributes
    ----------
    delta : float
        Chance of a false cut at one look at the window, in (0, 1).
    buckets : tuple of (int, float, float)
        Values, sum, and sum of squared deviations of each, the oldest first.
    drifted : bool
        Whether the last value made the window shrink.
    """

    delta: float = 0.002
    buckets: tuple[tuple[int, float, float], ...] = field(default=())
    drifted: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.delta < 1.0:
            raise InvalidInput(f"delta is {self.delta}; it is a chance, between 0 and 1.")

    @property
    def n(self) -> int:
        """Values in the window."""
        return sum(n for n, _, _ in self.buckets)

    @property
    def mean(self) -> float:
        """Mean of the window; 0 of an empty one."""
        return sum(total for _, total, _ in self.buckets) / max(self.n, 1)


def update(state: Adwin, value: float) -> Adwin:
    """Take a value in, and drop the oldest buckets as long as some cut shows a change.

    References
    ----------
    A. Bifet and R. Gavalda, Learning from time-changing data with adaptive windowing,
    SIAM International Conference on Data Mining (2007), with the bound of section 3.2 (ADWIN2).
    """
    buckets = _compressed([*state.buckets, (1, value, 0.0)])
    drifted = False
    while len(buckets) > 1 and _has_cut(buckets, state.delta):
        buckets = buckets[1:]
        drifted = True
    return Adwin(state.delta, tuple(buckets), drifted)


def _compressed(buckets: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    size = 1
    while sum(n == size for n, _, _ in buckets) > BUCKETS:
        oldest = next(i for i, bucket in enumerate(buckets) if bucket[0] == size)
        buckets[oldest : oldest + 2] = [_merged(buckets[oldest], buckets[oldest + 1])]
        size *= 2
    return buckets


def _merged(
    first: tuple[int, float, float], second: tuple[int, float, float]
) -> tuple[int, float, float]:
    n, m = first[0], second[0]
    gap = first[1] / n - second[1] / m
    return n + m, first[1] + second[1], first[2] + second[2] + gap * gap * n * m / (n + m)


def _has_cut(buckets: list[tuple[int, float, float]], delta: float) -> bool:
    whole = buckets[0]
    for bucket in buckets[1:]:
        whole = _merged(whole, bucket)
    n, total, squares = whole
    variance = squares / n
    confidence = math.log(2.0 * math.log(n) / delta) if n > 1 else 0.0
    older, older_sum = 0, 0.0
    for rows, part, _ in buckets[:-1]:
        older, older_sum = older + rows, older_sum + part
        newer = n - older
        if older < LEAST_PART or newer < LEAST_PART:
            continue
        harmonic = 1.0 / older + 1.0 / newer
        bound = math.sqrt(2.0 * harmonic * variance * confidence) + harmonic * confidence * 2 / 3
        if abs(older_sum / older - (total - older_sum) / newer) > bound:
            return True
    return False
