"""Population stability index over fixed cells, and what it is without drift."""

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_counts
from stats.chi2_law import chi2_isf, chi2_sf
from stats.confidence import local_interval
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Psi
from stats.shares import SMOOTHING, SharePair

ROWS_PER_CELL = 10
"""Below this many current rows a cell the chi-square law is too rough: simulate."""
DRAWS = 20_000
LEAST_SIMULATED = 10.0 / DRAWS
"""A chance that ten draws in all exceed."""


def psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> Psi:
    """Sum of (q - p) ln(q / p) over cells, with 0.5 added to every count.

    Parameters
    ----------
    reference, current : array_like of int, shape (cells,)
        Counts over the same cells, guards and `missing` included.

    Returns
    -------
    Psi
        `value` in [0, inf); zero for equal counts. Symmetric. Without drift it is distributed
        as (1/m + 1/n) chi2(cells - 1), so that it is never zero on real windows.

    Raises
    ------
    NotEnoughSamples, InvalidInput
        As `arrays.as_count_pair`.

    Notes
    -----
    Cells that are empty in both windows take no part. The interval is of the population's PSI.

    References
    ----------
    B. Yurdakul and J. Naranjo, Statistical properties of the population stability index,
    Journal of Risk Model Validation 14 (2020) 89-100.

    Examples
    --------
    >>> round(psi([500, 500], [600, 400]).value, 4)
    0.0405
    """
    pair = SharePair.of(reference, current)
    p, q = pair.p_smooth, pair.q_smooth
    ratio = np.log(q / p)
    terms = (q - p) * ratio
    value = float(terms.sum())
    variance = pair.variance(1.0 - ratio - q / p, 1.0 + ratio - p / q)
    contributions = np.zeros(pair.kept.size)
    contributions[pair.kept] = terms / value if value > 0.0 else 0.0
    return Psi(
        value=value,
        interval=local_interval(value, 1.0, variance, pair.degrees, pair.pair),
        n_reference=pair.m,
        n_current=pair.n,
        p_value=psi_p_value(value, pair.p.size, pair.m, pair.n),
        cells=pair.p.size,
        contributions=tuple(contributions.tolist()),
    )


def psi_threshold(alpha: float, cells: int, m: int, n: int) -> float:
    """PSI that is exceeded with chance `alpha` without drift, by the chi-square law.

    Parameters
    ----------
    alpha : float
        In (0, 1).
    cells : int
        Cells that hold rows, at least 2.
    m, n : int
        Rows of the reference and of the current window.
    """
    _check(alpha, cells, m, n)
    return chi2_isf(alpha, cells - 1) * (1.0 / m + 1.0 / n)


def psi_p_value(value: float, cells: int, m: int, n: int) -> float:
    """Chance of at least `value` without drift, by the chi-square law; 1.0 for a single cell."""
    if cells < 2:
        return 1.0
    return chi2_sf(value / (1.0 / m + 1.0 / n), cells - 1)


def calibrated_threshold(alpha: float, reference: npt.ArrayLike, n: int) -> float:
    """PSI that is exceeded with chance `alpha` without drift, by whichever law holds.

    Parameters
    ----------
    alpha : float
        In (0, 1); at least `LEAST_SIMULATED` where windows are small.
    reference : array_like of int, shape (cells,)
        Counts; at least two cells hold rows.
    n : int
        Rows of the current window.

    Returns
    -------
    float
        `psi_threshold` from `ROWS_PER_CELL` current rows a cell up, `simulated_threshold` with a
        fixed seed below.

    Raises
    ------
    InvalidInput
        If `alpha` is too small to simulate.

    Examples
    --------
    >>> round(calibrated_threshold(0.05, [500] * 10, 1000), 4)
    0.0203
    >>> round(calibrated_threshold(0.05, [500] * 10, 30), 2)
    0.48
    """
    counts = as_counts(reference, "reference")
    shares = counts[counts > 0].astype(np.float64)
    if n >= ROWS_PER_CELL * shares.size:
        return psi_threshold(alpha, shares.size, int(counts.sum()), n)
    if 0.0 < alpha < LEAST_SIMULATED:
        message = f"alpha is {alpha} and {n} rows are few; join cells or use `likelihood_ratio`."
        raise InvalidInput(message)
    generator = np.random.default_rng(0)
    return simulated_threshold(alpha, shares, (int(counts.sum()), n), generator)


def simulated_threshold(
    alpha: float,
    shares: FloatArray,
    sizes: tuple[int, int],
    generator: "np.random.Generator",  # importing numpy.random takes 20 ms
    *,
    draws: int = DRAWS,
) -> float:
    """PSI that is exceeded with chance `alpha` without drift, by simulation of both windows.

    Parameters
    ----------
    alpha : float
        In (0, 1); `draws` should be at least 10 / alpha.
    shares : ndarray of float64, shape (cells,)
        The reference's shares, or counts in proportion to them.
    sizes : tuple of int
        Rows of the reference and of the current window.
    generator : numpy.random.Generator
        Seeded by the caller: the same seed gives the same threshold.
    """
    m, n = sizes
    _check(alpha, shares.size, m, n)
    law = shares / shares.sum()
    before = generator.multinomial(m, law, size=draws)
    now = generator.multinomial(n, law, size=draws)
    # As in `psi`, cells that are empty in both windows of a draw take no part.
    raised = np.where((before + now) > 0, SMOOTHING, 0.0)
    p = before + raised
    q = now + raised
    ratio = np.log(np.divide(q, p, out=np.ones_like(p), where=p > 0.0))
    ratio += np.log(p.sum(axis=1, keepdims=True) / q.sum(axis=1, keepdims=True))
    gap = q / q.sum(axis=1, keepdims=True) - p / p.sum(axis=1, keepdims=True)
    return float(np.quantile((gap * ratio).sum(axis=1), 1.0 - alpha, method="higher"))


def _check(alpha: float, cells: int, m: int, n: int) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput(f"alpha is {alpha}; a chance lies between 0 and 1.")
    if cells < 2:
        raise InvalidInput(f"{cells} cell; PSI compares at least two.")
    if min(m, n) < 1:
        raise NotEnoughSamples(min(m, n), 1)
