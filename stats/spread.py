"""How much more sums of a reference's rows vary than sums of independent rows would."""

import numpy as np

from stats.arrays import CountArray, FloatArray

LEAST_BLOCKS = 20
"""Blocks of two rows and more below which nothing can be said."""
_SCORES = 3


def dispersion(cell: CountArray, block: CountArray, *, size: int, ordered: int) -> float:
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

    Returns
    -------
    float
        At least 1; 1 where fewer than `LEAST_BLOCKS` blocks hold two rows and more.
    """
    if not cell.size:
        return 1.0
    _, place, rows = np.unique(block, return_inverse=True, return_counts=True)
    if np.count_nonzero(rows > 1) < LEAST_BLOCKS:
        return 1.0
    counts = np.bincount(cell, minlength=size).astype(np.float64)
    found = [_ratio(score, counts, cell, place, rows) for score in _scores(counts, ordered)]
    return max(1.0, *found)


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


def _ratio(
    score: FloatArray, counts: FloatArray, cell: CountArray, place: CountArray, rows: CountArray
) -> float:
    n = counts.sum()
    centred = score - (score * counts).sum() / n
    variance = float((np.square(centred) * counts).sum() / n)
    if variance <= 0.0:
        return 1.0
    sums = np.bincount(place, weights=centred[cell], minlength=rows.size)
    # Sums of all blocks add up to zero, which takes a part of each block's variance.
    expected = variance * float((rows * (1.0 - rows / n)).sum())
    return float(np.square(sums).sum()) / expected if expected > 0.0 else 1.0
