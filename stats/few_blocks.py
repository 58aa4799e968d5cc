"""The over-dispersion of a reference that holds few blocks: from parts of them."""

import math

import numpy as np

from stats.arrays import CountArray
from stats.spread import LEAST_BLOCKS, dispersion

PARTS = 3 * LEAST_BLOCKS
"""Parts that few blocks are cut into, where they have the rows: of fewer a ratio says little."""


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
    ratio gives r, and r the ratio of blocks. Dependence mostly fades with distance, which makes
    this too large rather than too small.

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
    _, place, rows = np.unique(block, return_inverse=True, return_counts=True)
    if not 0 < rows.size < LEAST_BLOCKS:
        return dispersion(cell, block, size=size, ordered=ordered, within=within)
    order = np.lexsort((at, place))
    first = np.concatenate(([0], np.cumsum(rows)[:-1]))
    # Rows of one moment stay together: nobody knows in what order they came.
    _, moment = np.unique(at[order], return_index=True)
    begun = np.repeat(moment, np.diff(moment, append=at.size))
    rank = np.empty(at.size, dtype=np.int64)
    rank[order] = begun - first[place[order]]
    # Two rows each at least: a single one says nothing of dependence.
    parts = np.clip(rows // 2, 1, math.ceil(PARTS / rows.size))
    part = place * PARTS + rank * parts[place] // rows[place]
    found = dispersion(cell, part, size=size, ordered=ordered, within=within)
    of_parts = _rows_together(np.unique(part, return_counts=True)[1])
    if found <= 1.0 or of_parts <= 1.0:
        return 1.0
    return 1.0 + (found - 1.0) * (_rows_together(rows) - 1.0) / (of_parts - 1.0)


def _rows_together(rows: CountArray) -> float:
    """Return the rows of the block that a row lies in, on average."""
    return float(np.square(rows).sum() / rows.sum())
