"""Homogeneity of two rows of counts, and the rate of categories that are new."""

import math

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, as_count_pair
from stats.chi2_law import chi2_sf
from stats.confidence import noncentrality, wilson
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Chi2, Interval, Measurement

EXPECTED = 5.0
"""Least expected count of a cell; what expects less is merged (Cochran 1954)."""


def chi2_homogeneity(reference: npt.ArrayLike, current: npt.ArrayLike) -> Chi2:
    """Test that both windows come from the same shares: both are samples, neither is the truth.

    Parameters
    ----------
    reference, current : array_like of int, shape (cells,)
        Counts over the same categories. Leave the cell of new categories out: it expects
        nothing, and `new_rate` measures it.

    Returns
    -------
    Chi2
        `value` is Cramér's V = sqrt(X² / N) in [0, 1]; `statistic` is X² without Yates'
        correction after cells that expect fewer than five rows in either window are merged.
        A single cell left gives zero, 0 degrees and p = 1. Symmetric.

    References
    ----------
    W. G. Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10
    (1954) 417-451.
    """
    p, q = as_count_pair(reference, current)
    table, merged = merge_small(np.stack((p, q)))
    n = int(table.sum())
    degrees = table.shape[1] - 1
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    statistic = float(((table - expected) ** 2 / expected).sum())
    inside = noncentrality(statistic, degrees)
    return Chi2(
        value=math.sqrt(min(1.0, statistic / n)),
        interval=Interval(
            math.sqrt(min(1.0, inside.low / n)), math.sqrt(min(1.0, inside.high / n))
        ),
        n_reference=int(p.sum()),
        n_current=int(q.sum()),
        statistic=statistic,
        degrees=degrees,
        p_value=chi2_sf(statistic, degrees) if degrees else 1.0,
        merged=merged,
    )


def merge_small(table: CountArray) -> tuple[CountArray, int]:
    """Throw cells that expect fewer than five rows together, and more until their sum does not.

    Parameters
    ----------
    table : ndarray of int64, shape (2, cells)

    Returns
    -------
    tuple of ndarray of int64, shape (2, kept), and int
        The merged cells come last; how many they were (0 if none had to be merged).
    """
    filled = table[:, table.sum(axis=0) > 0]
    smaller_share = filled.sum(axis=1).min() / filled.sum()
    order = np.argsort(filled.sum(axis=0), kind="stable")
    expected = filled.sum(axis=0)[order] * smaller_share
    small = int((expected < EXPECTED).sum())
    if small == 0:
        return filled, 0
    enough = int(np.searchsorted(np.cumsum(expected), EXPECTED)) + 1
    taken = min(max(small, enough), filled.shape[1])
    other = filled[:, order[:taken]].sum(axis=1, keepdims=True)
    rest = filled[:, np.sort(order[taken:])]
    return np.concatenate((rest, other), axis=1), taken


def new_rate(new: int, n_current: int, n_reference: int) -> Measurement:
    """Share of current rows whose category the reference never had, with Wilson's interval.

    A signal of its own: against a reference that expects none, a test would only say p = 0.

    Raises
    ------
    NotEnoughSamples
        If either window is empty.
    """
    if n_reference < 1:
        raise NotEnoughSamples(n_reference, 1, "reference")
    if n_current < 1:
        raise NotEnoughSamples(n_current, 1, "current window")
    if not 0 <= new <= n_current:
        raise InvalidInput(f"{new} new rows of {n_current}; they must lie in 0..n.")
    return Measurement(new / n_current, wilson(new, n_current), n_reference, n_current)
