"""Samples kept as counts over signed logarithmic buckets: 1 % wide, so that they add up.

A bucket's number is sign(v) * max(0, round(50.5 ln(1000 |v|)) + 349), as the roll-ups store it:
0 holds what is below 1e-6 on either side of zero.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray, Values, as_values
from stats.confidence import Z
from stats.ecdf import Ecdf, as_weights
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Estimate, Interval

BUCKETS_PER_E = 50.5
"""Buckets in a factor of e; roll-ups hold their numbers, so this never changes."""
ZERO = 349
"""Added to a bucket's logarithm: buckets from 1 up hold 1e-6 and more."""
INFINITE = 40_000
"""Bucket of infinity, negative for minus infinity: beyond that of every finite number."""
RELATIVE_ERROR = math.expm1(0.5 / BUCKETS_PER_E)
"""Half a bucket: 0.995 %, the most by which a number differs from its bucket's middle."""
_LEAST = 0.001
_GREATEST = 1e300


class Spans(NamedTuple):
    """The numbers that buckets hold: from `low` up to, but not, `high`; `middle` stands for all.

    Arrays of float64, shape (k,). Rounding may put a number that lies on an end beside it.
    """

    low: FloatArray
    middle: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """The known, finite rows of a window by bucket.

    Attributes
    ----------
    buckets : ndarray of int64, shape (k,)
        Ascending and distinct.
    counts : ndarray of int64, shape (k,)
        Rows in each, all positive.
    invalid : int
        Infinite rows, which lie in no bucket.
    """

    buckets: CountArray
    counts: CountArray
    invalid: int = 0

    @classmethod
    def of_counts(cls, buckets: npt.ArrayLike, counts: npt.ArrayLike) -> "Sketch":
        """Take counts by bucket, in any order; a bucket may stand more than once."""
        numbers, rows = np.asarray(buckets, dtype=np.int64), as_weights(counts)
        if numbers.shape != rows.shape:
            raise InvalidInput(f"{numbers.size} buckets have {rows.size} counts; give one each.")
        sizes = np.abs(numbers)
        # Stores answer in order: nothing is to be sorted.
        if np.all(np.diff(numbers) > 0) and np.all(sizes < INFINITE) and np.all(rows > 0):
            return cls(numbers, rows)
        infinite = sizes >= INFINITE
        kept = ~infinite & (rows > 0)
        distinct, place = np.unique(numbers[kept], return_inverse=True)
        # Sums of doubles are exact up to 2**53 rows.
        summed = np.bincount(place, weights=rows[kept], minlength=distinct.size)
        return cls(distinct, summed.astype(np.int64), int(rows[infinite].sum()))

    @classmethod
    def of(cls, values: Values, weights: npt.ArrayLike | None = None) -> "Sketch":
        """Sort rows into buckets; NaN and None are missing, and left out."""
        array = as_values(values)
        rows = np.ones(array.size, dtype=np.int64) if weights is None else as_weights(weights)
        known = ~np.isnan(array)
        return cls.of_counts(bucket_numbers(array[known]), rows[known])

    @classmethod
    def merged(cls, parts: Iterable["Sketch"]) -> "Sketch":
        """Add up sketches of hours, variants or workers."""
        kept = list(parts)
        if len(kept) == 1:
            return kept[0]
        empty = np.zeros(0, dtype=np.int64)
        whole = cls.of_counts(
            np.concatenate([empty, *(part.buckets for part in kept)]),
            np.concatenate([empty, *(part.counts for part in kept)]),
        )
        return cls(whole.buckets, whole.counts, sum(part.invalid for part in kept))

    @property
    def n(self) -> int:
        """Rows in buckets."""
        return int(self.counts.sum())

    def sample(self) -> Ecdf:
        """Return the rows as lying in the middles of their buckets."""
        cumulative = np.concatenate(([0], np.cumsum(self.counts))).astype(np.int64)
        return Ecdf(middles(self.buckets), self.counts, cumulative)

    def values_at(self, shares: Sequence[float]) -> list[float]:
        """Return quantiles without their intervals; see `quantile`.

        Raises
        ------
        NotEnoughSamples
            If there are no rows.
        """
        below = np.cumsum(self.counts)
        if not below.size:
            raise NotEnoughSamples(0, 1)
        found: list[float] = middles(self._at_ranks(below, np.asarray(shares) * below[-1])).tolist()
        return found

    def quantile(self, share: float) -> Estimate:
        """Return a quantile with its 95 % interval from order statistics.

        Parameters
        ----------
        share : float
            0..1, such as 0.99.

        Returns
        -------
        Estimate
            Within `RELATIVE_ERROR` (1e-6 around zero) of the value of rank ceil(share * n); the
            interval's ends are within it of the values of the binomial's 2.5 % and 97.5 % ranks.

        Raises
        ------
        NotEnoughSamples
            If there are no rows.

        References
        ----------
        C. Masson, J. E. Rim and H. K. Lee, DDSketch, PVLDB 12 (2019) 2195-2205.

        Examples
        --------
        >>> round(Sketch.of([100.0, 200.0, 300.0]).quantile(0.5).value)
        198
        """
        if not 0.0 <= share <= 1.0:
            raise InvalidInput(f"share is {share}; it must lie in 0..1, so p99 is 0.99.")
        n = self.n
        if n < 1:
            raise NotEnoughSamples(n, 1)
        spread = Z * math.sqrt(n * share * (1.0 - share))
        wanted = np.array([share * n, share * n - spread, share * n + spread + 1.0])
        value, low, high = middles(self._at_ranks(np.cumsum(self.counts), wanted)).tolist()
        return Estimate(value, Interval(low, high), n)

    def _at_ranks(self, below: CountArray, wanted: FloatArray) -> CountArray:
        # A product such as 0.1 * 30 may lie a rounding error above the rank that is meant.
        ranks = np.clip(np.ceil(wanted - 1e-9), 1, below[-1])
        return self.buckets[np.searchsorted(below, ranks)]


def bucket_numbers(values: npt.ArrayLike) -> CountArray:
    """Return the bucket of each value, as the roll-ups do in SQL.

    Raises
    ------
    InvalidInput
        If a value is NaN.
    """
    array = as_values(values)
    if np.any(np.isnan(array)):
        raise InvalidInput("bucketed values must be known; leave missing rows out.")
    scaled = np.maximum(np.minimum(np.abs(array), _GREATEST) * 1000.0, _LEAST)
    logs = np.log(scaled) * BUCKETS_PER_E
    # SQL rounds halves away from zero, numpy to even.
    rounded = np.copysign(np.floor(np.abs(logs) + 0.5), logs)
    sizes = np.where(np.isinf(array), INFINITE, np.maximum(0.0, rounded + ZERO))
    return np.asarray(np.sign(array) * sizes, dtype=np.int64)


def spans(buckets: npt.ArrayLike) -> Spans:
    """Return the numbers that buckets hold."""
    numbers = np.asarray(buckets, dtype=np.int64)
    size, sign = np.abs(numbers), np.sign(numbers)
    inner, outer = _border(size - 0.5), _border(size + 0.5)
    return Spans(
        low=np.where(sign > 0, inner, -outer),
        middle=middles(numbers),
        high=np.where(sign < 0, -inner, outer),
    )


def middles(buckets: CountArray) -> FloatArray:
    """Return the numbers that stand for those in buckets."""
    return np.asarray(np.sign(buckets) * _border(np.abs(buckets).astype(np.float64)))


def _border(place: FloatArray) -> FloatArray:
    return np.asarray(np.exp((place - ZERO) / BUCKETS_PER_E) / 1000.0, dtype=np.float64)
