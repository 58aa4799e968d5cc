"""The over-dispersion of a reference that holds few blocks: from parts of them."""

import math
from typing import NamedTuple

import numpy as np

from stats.arrays import CountArray
from stats.spread import LEAST_BLOCKS, dispersion, largest_ratio

PARTS = 3 * LEAST_BLOCKS
"""Parts that few blocks are cut into, where they have the rows: of fewer a ratio says little."""
_LOW_Z = -1.645
"""Normal quantile of 5 %: a chi-square below that would make the blocks' own ratio too small."""


def dispersion_in_time(
    cell: CountArray,
    at: CountArray,
    length: int,
    *,
    size: int,
    ordered: int,
    within: CountArray | None = None,
) -> float:
    """Return the over-dispersion of sums over blocks of time, however few of them there are.

    From `LEAST_BLOCKS` on it is `spread.dispersion` of the blocks. Fewer are cut into consecutive
    parts. Rows with correlation r vary by 1 + (b - 1) r in sums over b of them, so that the parts'
    ratio gives r, and r the ratio of blocks. Where dependence fades with distance this is too
    large: it is held to what the blocks' own ratio allows at 95 %, and where they are one or two
    to the growth that is seen from smaller to larger parts.

    Parameters
    ----------
    cell, size, ordered, within
        As of `spread.dispersion`.
    at : ndarray of int64, shape (n,)
        When each row began, in any order.
    length : int
        Of a block, in the unit of `at`.

    Returns
    -------
    float
        At least 1; 1 where it may be chance.
    """
    block = at // length
    rows = np.unique(block, return_counts=True)[1]
    if not 0 < rows.size < LEAST_BLOCKS:
        return dispersion(cell, block, size=size, ordered=ordered, within=within)
    order = _Order.of(at, block)
    part = order.cut(PARTS)
    found = dispersion(cell, part, size=size, ordered=ordered, within=within)
    of_parts = _rows_together(part)
    if found <= 1.0 or of_parts <= 1.0:
        return 1.0
    times = (_rows_together(block) - 1.0) / (of_parts - 1.0)
    most = _most_over_nominal(rows.size - 1)
    if math.isfinite(most):
        seen = largest_ratio(cell, block, size=size, ordered=ordered, within=within)
        return min(1.0 + (found - 1.0) * times, max(found, most * seen))
    larger = order.cut(LEAST_BLOCKS)
    grown = dispersion(cell, larger, size=size, ordered=ordered, within=within)
    power = _power(grown, found, _rows_together(larger) / of_parts)
    return float(1.0 + (found - 1.0) * times**power)


class _Order(NamedTuple):
    """Where each row stands within its block, in time.

    Attributes
    ----------
    place : ndarray of int64, shape (n,)
        Number of a row's block.
    rank : ndarray of int64, shape (n,)
        Rows of its block before it; rows of one moment have the same.
    rows : ndarray of int64
        Of each block.
    """

    place: CountArray
    rank: CountArray
    rows: CountArray

    @classmethod
    def of(cls, at: CountArray, block: CountArray) -> "_Order":
        """Put rows in order."""
        _, place, rows = np.unique(block, return_inverse=True, return_counts=True)
        order = np.lexsort((at, place))
        first = np.concatenate(([0], np.cumsum(rows)[:-1]))
        # Rows of one moment stay together: nobody knows in what order they came.
        _, moment = np.unique(at[order], return_index=True)
        begun = np.repeat(moment, np.diff(moment, append=at.size))
        rank = np.empty(at.size, dtype=np.int64)
        rank[order] = begun - first[place[order]]
        return cls(place, rank, rows)

    def cut(self, total: int) -> CountArray:
        """Return the part that each row lies in, of about this many parts of all blocks."""
        # Two rows each at least: a single one says nothing of dependence.
        parts = np.clip(self.rows // 2, 1, math.ceil(total / self.rows.size))
        place = self.place
        return np.asarray(place * total + self.rank * parts[place] // self.rows[place])


def _most_over_nominal(degrees: int) -> float:
    """Return degrees of freedom over the chi-square's 5 % quantile; infinite of one or none.

    Wilson and Hilferty, PNAS 17 (1931) 684: the cube root of a chi-square is nearly normal.
    """
    if degrees < 2:
        return math.inf
    spread = 2.0 / (9.0 * degrees)
    return float((1.0 - spread + _LOW_Z * math.sqrt(spread)) ** -3)


def _power(larger: float, smaller: float, times: float) -> float:
    """Return the power of the parts' size that the excess over one grows with, in [0, 1]."""
    if larger <= 1.0 or times <= 1.0:
        return 0.0
    return min(1.0, max(0.0, math.log((larger - 1.0) / (smaller - 1.0)) / math.log(times)))


def _rows_together(block: CountArray) -> float:
    """Return the rows of the block that a row lies in, on average."""
    rows = np.unique(block, return_counts=True)[1]
    return float(np.square(rows).sum() / rows.sum())
