"""A sample kept as its distinct values and their counts: sorted once, merged by adding."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray, Values, as_values
from stats.errors import InvalidInput, NotEnoughSamples


@dataclass(frozen=True, slots=True, eq=False)
class Ecdf:
    """An empirical distribution function; prepare the reference once, compare it often.

    Attributes
    ----------
    support : ndarray of float64, shape (k,)
        Distinct finite values, ascending.
    counts : ndarray of int64, shape (k,)
        Rows of each, all positive.
    cumulative : ndarray of int64, shape (k + 1,)
        Rows below each value, and all of them at the end.
    """

    support: FloatArray
    counts: CountArray
    cumulative: CountArray

    @classmethod
    def of(cls, values: Values, weights: npt.ArrayLike | None = None) -> "Ecdf":
        """Sort a sample; NaN (missing) and infinities (invalid) are left out.

        Parameters
        ----------
        values : array_like, shape (n,)
            Numbers or None.
        weights : array_like of int, shape (n,), optional
            How often each value is repeated; default once.
        """
        array = as_values(values)
        if weights is None:
            return cls._of_rows(array)
        repeats = as_weights(weights)
        if repeats.shape != array.shape:
            raise InvalidInput(f"{array.size} values have {repeats.size} weights; give one each.")
        keep = np.isfinite(array) & (repeats > 0)
        support, place = np.unique(array[keep], return_inverse=True)
        # Sums of doubles are exact up to 2**53 rows.
        counts = np.bincount(place, weights=repeats[keep], minlength=support.size)
        return cls._build(support, counts.astype(np.int64))

    @classmethod
    def _of_rows(cls, array: FloatArray) -> "Ecdf":
        known = np.isfinite(array)
        rows = np.sort(array if known.all() else array[known])
        # Adding zero makes one zero of both, as the sort does not.
        rows += 0.0
        first = np.append(True, rows[1:] != rows[:-1])[: rows.size]
        starts = np.append(np.flatnonzero(first), rows.size)
        return cls(rows[first], np.diff(starts), starts)

    @classmethod
    def _build(cls, support: FloatArray, counts: CountArray) -> "Ecdf":
        return cls(support, counts, np.concatenate(([0], np.cumsum(counts))).astype(np.int64))

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.cumulative[-1])

    def merge(self, other: "Ecdf") -> "Ecdf":
        """Return the sample of both: the same as sorting them together."""
        return Ecdf.of(
            np.concatenate((self.support, other.support)),
            np.concatenate((self.counts, other.counts)),
        )

    def at(self, points: FloatArray) -> FloatArray:
        """Share of rows at or below each of `points`."""
        rows = self.cumulative[np.searchsorted(self.support, points, side="right")]
        return np.asarray(rows / self.n, dtype=np.float64)

    def quantile(self, share: float) -> float:
        """Smallest value with at least `share` of the rows at or below it."""
        return float(self.order(np.array([rank_of(share, self.n)]))[0])

    def order(self, ranks: CountArray) -> FloatArray:
        """Return the order statistics of these ranks, each in [0, n)."""
        return self.support[np.searchsorted(self.cumulative[1:], ranks, side="right")]

    def heavier(self, rows: float) -> FloatArray:
        """Return the values that more than so many rows have, ascending."""
        return self.support[self.counts > rows]

    def below(self, points: FloatArray) -> CountArray:
        """Return how many rows lie below each point."""
        return self.cumulative[np.searchsorted(self.support, points, side="left")]

    def clip(self, low: float, high: float) -> "Ecdf":
        """Move values outside of [low, high] to its ends."""
        if low >= high:
            return Ecdf._build(np.array([high]), np.array([self.n]))
        start = int(np.searchsorted(self.support, low, side="right"))
        end = max(start, int(np.searchsorted(self.support, high, side="left")))
        below, above = int(self.cumulative[start]), self.n - int(self.cumulative[end])
        support, counts = [self.support[start:end]], [self.counts[start:end]]
        if below:
            support, counts = [np.array([low]), *support], [np.array([below]), *counts]
        if above:
            support, counts = [*support, np.array([high])], [*counts, np.array([above])]
        return Ecdf._build(np.concatenate(support), np.concatenate(counts))

    def std(self) -> float:
        """Return the standard deviation (divisor n), centred first so that 1e9 loses nothing."""
        centred = self.support - self.quantile(0.5)
        widest = float(np.abs(centred).max())
        if widest == 0.0:
            return 0.0
        # Squares of what is at most one neither overflow nor vanish.
        scaled = centred / widest
        # Not by BLAS, whose threads would take a second processor for nothing.
        mean = float(np.einsum("i,i->", scaled, self.counts)) / self.n
        square = float(np.einsum("i,i->", (scaled - mean) ** 2, self.counts)) / self.n
        return widest * math.sqrt(square)

    def iqr(self) -> float:
        """Distance of the quartiles."""
        return self.quantile(0.75) - self.quantile(0.25)


Sample = Values | Ecdf
"""Raw rows or an `Ecdf` prepared from them."""


def rank_of(share: float, n: int) -> int:
    """Rank in [0, n) of the smallest row with at least `share` of the rows at or below it."""
    return max(1, int(np.ceil(share * n - 1e-9))) - 1


def as_weights(weights: npt.ArrayLike) -> CountArray:
    """Return whole numbers >= 0 as int64."""
    array = np.asarray(weights)
    whole = array.astype(np.int64)
    if np.any(whole < 0) or np.any(whole != array):
        raise InvalidInput("weights must be whole numbers >= 0: how often a value is repeated.")
    return whole


def as_pair(reference: Sample, current: Sample, needed: int = 1) -> tuple[Ecdf, Ecdf]:
    """Prepare both windows.

    Raises
    ------
    NotEnoughSamples
        If one of them has fewer than `needed` finite rows.
    """
    first = reference if isinstance(reference, Ecdf) else Ecdf.of(reference)
    second = current if isinstance(current, Ecdf) else Ecdf.of(current)
    for sample, name in ((first, "reference"), (second, "current window")):
        if sample.n < needed:
            raise NotEnoughSamples(sample.n, needed, name)
    return first, second
