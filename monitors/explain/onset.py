"""Since when: a scan of counts by slot for the one moment that parts them best."""

import math
from dataclasses import dataclass

import numpy as np

from stats.arrays import CountArray, FloatArray

REACH = math.log(40.0)
"""Log likelihood below the best moment's up to which a moment is in the 95 % range.

Either side of the true moment the likelihood ratio of a later, or an earlier, one is a martingale
with mean 1, which ever exceeds 40 with chance 1 / 40 (J. Ville, 1939); two sides make 5 %. It holds
for laws that are known; both are estimated here.
"""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Where counts change.

    Attributes
    ----------
    slot, first, last : int
        Place of the first slot after the change, and of the least and greatest in its range. Slot
        0 says that the change lies before the first slot.
    gain : float
        Log likelihood of two laws, parted there, over that of a single one.
    """

    slot: int
    first: int
    last: int
    gain: float


def change_point(
    reference: CountArray, slots: CountArray, *, dispersion: float = 1.0
) -> ChangePoint | None:
    """Return the slot from which on rows follow another law than the reference and those before.

    Parameters
    ----------
    reference : ndarray of int64, shape (cells,)
        Rows from before the first slot.
    slots : ndarray of int64, shape (slots, cells)
        Rows by slot and cell, in order of time.
    dispersion : float
        At least 1: rows that depend on each other say so many times less.

    Returns
    -------
    ChangePoint or None
        The multinomial maximum likelihood estimate; None where nothing gains on no change at all,
        with a penalty of half the logarithm of the rows for each further cell and for the moment
        (G. Schwarz, Annals of Statistics 6 (1978) 461-464).

    Examples
    --------
    >>> slots = np.array([[90, 10], [88, 12], [50, 50], [52, 48]])
    >>> change_point(np.array([900, 100]), slots).slot
    2
    """
    rows = slots.sum(axis=1)
    used = np.flatnonzero(rows)
    if not used.size or not reference.sum():
        return None
    seen = slots[used]
    # What stands before each moment; what stands from it on is never empty.
    before = reference + np.concatenate((np.zeros_like(seen[:1]), np.cumsum(seen, axis=0)[:-1]))
    total = reference + seen.sum(axis=0)
    alone = float(_log_likelihood(total[None, :])[0])
    gains = (_log_likelihood(before) + _log_likelihood(total - before) - alone) / dispersion
    best = int(np.argmax(gains))
    cells = int((total > 0).sum())
    if float(gains[best]) <= cells / 2.0 * math.log(max(2.0, float(rows.sum()) / dispersion)):
        return None
    near = np.flatnonzero(gains >= gains[best] - REACH)
    # Of empty slots before a moment any may be it.
    first = int(used[near[0] - 1]) + 1 if near[0] else 0
    return ChangePoint(int(used[best]), first, int(used[near[-1]]), float(gains[best]))


def _log_likelihood(counts: CountArray) -> FloatArray:
    """Log likelihood of each row of a table under its own shares."""
    rows = counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(counts > 0, counts * np.log(counts / rows), 0.0)
    return np.asarray(terms.sum(axis=1), dtype=np.float64)
