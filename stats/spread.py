"""How much more sums of a reference's rows vary than sums of independent rows would."""

import math

import numpy as np

from stats.arrays import CountArray, FloatArray

LEAST_BLOCKS = 20
"""Blocks of two rows and more below which nothing can be said."""
BEYOND_CHANCE = 3.0
"""Standard errors above one that a ratio must have; the largest of some scores is looked at."""
CAUTION = 1.0
"""Standard errors that are added to it: too small a dispersion costs false alarms by the power."""
_SCORES = 3


def dispersion(
    cell: CountArray,
    block: CountArray,
    *,
    size: int,
    ordered: int,
    within: CountArray | None = None,
) -> float:
    """Return the over-dispersion of sums over blocks of rows that stand together.

    Rows are scored by cell: by their mid-rank's Legendre polynomials 1 to 3 where cells lie on a
    line, and each of the most frequent cells by whether the row lies in it. Of each score the
    variance of blocks' sums is put over that of as many independent rows; the largest holds.

    Parameters
    ----------
    cell : ndarray of int64, shape (n,)
        Cell of each row, in [0, size).
    block : ndarray of int64, shape (n,)
        Rows of the same number stand together: a look's, or a user's.
    size, ordered : int
        Cells, and how many leading ones lie on a line.
    within : ndarray of int64, shape (n,), optional
        Group whose mean is taken off first: the hour of the week of a detector with hours.

    Returns
    -------
    float
        At least 1; 1 where it may be chance, or fewer than `LEAST_BLOCKS` blocks hold two rows
        and more.
    """
    if not cell.size:
        return 1.0
    blocks = int(np.count_nonzero(np.unique(block, return_counts=True)[1] > 1))
    if blocks < LEAST_BLOCKS:
        return 1.0
    found = largest_ratio(cell, block, size=size, ordered=ordered, within=within)
    # A chi-square of that many degrees over its degrees.
    error = math.sqrt(2.0 / blocks)
    return found * (1.0 + CAUTION * error) if found > 1.0 + BEYOND_CHANCE * error else 1.0


def largest_ratio(
    cell: CountArray,
    block: CountArray,
    *,
    size: int,
    ordered: int,
    within: CountArray | None = None,
) -> float:
    """Return the variance of blocks' sums over that of independent rows, of the score with most.

    Parameters are those of `dispersion`, of at least one row.
    """
    _, place, rows = np.unique(block, return_inverse=True, return_counts=True)
    groups = np.zeros(cell.size, dtype=np.int64) if within is None else within
    counts = np.bincount(cell, minlength=size).astype(np.float64)
    return max(_ratio(score[cell], groups, place, rows) for score in _scores(counts, ordered))


def _scores(counts: FloatArray, ordered: int) -> list[FloatArray]:
    scores = []
    if ordered and counts[:ordered].sum():
        line = counts[:ordered]
        middle = 2.0 * (np.cumsum(line) - line / 2.0) / line.sum() - 1.0
        for degree in range(1, _SCORES + 1):
            score = np.zeros_like(counts)
            score[:ordered] = np.polynomial.legendre.Legendre.basis(degree)(middle)
            scores.append(score)
    else:
        most = np.argsort(-counts, kind="stable")[:_SCORES]
        scores += [np.equal(np.arange(counts.size), cell).astype(np.float64) for cell in most]
    return scores


def _ratio(score: FloatArray, groups: CountArray, place: CountArray, rows: CountArray) -> float:
    _, group, members = np.unique(groups, return_inverse=True, return_counts=True)
    centred = score - (np.bincount(group, weights=score) / members)[group]
    variance = float(np.square(centred).sum()) / max(score.size - members.size, 1)
    if variance <= 0.0:
        return 1.0
    sums = np.bincount(place, weights=centred, minlength=rows.size)
    # Sums of a group's blocks add up to zero, which takes a part of each block's variance.
    taken = float(np.sum(np.bincount(place, weights=1.0 / members[group]) * rows))
    expected = variance * (score.size - taken)
    return float(np.square(sums).sum()) / expected if expected > 0.0 else 1.0
