"""95 % intervals with closed forms: no resampling, so that they are cheap and repeatable."""

import math

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.chi2_law import noncentrality_of
from stats.errors import InvalidInput, NotEnoughSamples
from stats.results import Interval

LEVEL = 0.95
Z = 1.959963984540054
"""Normal quantile of 0.975."""
IN_DOUBT = 2.0
"""Standard errors below which the sign of a difference is not known."""
MEAN_NOISE = math.sqrt(2.0 / math.pi)
"""Mean of |N(0, 1)|: how far apart two equal things look, in standard errors."""
EXACT_UP_TO = 1e5
"""Noncentral chi-square values above this are read from the normal law of the square root."""


def wilson(hits: int, n: int) -> Interval:
    """Score interval of a share; sound for zero hits and small `n`.

    Parameters
    ----------
    hits, n : int
        0 <= hits <= n, n >= 1.

    Raises
    ------
    NotEnoughSamples
        If `n` is zero.

    References
    ----------
    E. B. Wilson, Probable inference, JASA 22 (1927) 209-212.

    Examples
    --------
    >>> wilson(0, 10).high
    0.2775327998628892
    """
    if n < 1:
        raise NotEnoughSamples(n, 1)
    if not 0 <= hits <= n:
        raise InvalidInput(f"{hits} hits of {n} rows; hits must lie in 0..n.")
    share = hits / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # Rounding must not leave a positive lower end on no hits at all.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == n else min(1.0, middle + half)
    return Interval(low, high)


def newcombe(reference_hits: int, m: int, current_hits: int, n: int) -> Interval:
    """Interval of current share less reference share, by hybrid scores.

    References
    ----------
    R. G. Newcombe, Interval estimation for the difference between independent proportions,
    Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    p, q = wilson(reference_hits, m), wilson(current_hits, n)
    before, now = reference_hits / m, current_hits / n
    difference = now - before
    low = difference - math.hypot(now - q.low, p.high - before)
    high = difference + math.hypot(q.high - now, before - p.low)
    return Interval(max(-1.0, low), min(1.0, high))


def dkw_band(n: int, level: float = LEVEL) -> float:
    """Half width of a band that holds the whole distribution function, for any `n` and law.

    References
    ----------
    P. Massart, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality, Annals of
    Probability 18 (1990) 1269-1283.
    """
    if n < 1:
        raise NotEnoughSamples(n, 1)
    return math.sqrt(math.log(2.0 / (1.0 - level)) / (2.0 * n))


def noncentrality(statistic: float, degrees: int) -> Interval:
    """Interval of the noncentrality whose chi-square law gave `statistic`.

    A statistic below its mean without drift is read as that mean for the upper end, since
    luck of that kind does not narrow what the effect can be.

    References
    ----------
    J. H. Steiger, Beyond the F test, Psychological Methods 9 (2004) 164-182.
    """
    df = max(1, degrees)
    return Interval(_noncentral(statistic, df, 0.975), _noncentral(max(statistic, df), df, 0.025))


def _noncentral(statistic: float, df: int, tail: float) -> float:
    side = -Z if tail > 0.5 else Z
    if statistic > EXACT_UP_TO:
        return float((math.sqrt(statistic - df + 1) + side) ** 2)
    return noncentrality_of(statistic, df, tail, side)


def local_interval(
    value: float, curvature: float, variance: float, degrees: int, pair: tuple[int, int]
) -> Interval:
    """Interval of a divergence that is `curvature` times a chi-square for small effects.

    The hull of two laws: for small effects value / (curvature * (1/m + 1/n)) is noncentral
    chi-square, for large ones value is normal with the delta method's variance.

    Parameters
    ----------
    value : float
        The estimate, >= 0.
    curvature : float
        Second-order coefficient: PSI 1, KL 1/2, JS (nats) and squared Hellinger 1/8.
    variance : float
        Of `value` by the delta method.
    degrees : int
        Cells less one.
    pair : tuple of int
        Rows of the reference and of the current window.
    """
    m, n = pair
    unit = curvature * (1.0 / m + 1.0 / n)
    found = noncentrality(value / unit, degrees)
    half = Z * math.sqrt(variance)
    low = min(found.low * unit, value - degrees * unit - half)
    return Interval(max(0.0, low), max(found.high * unit, value + half))


def weighted_std(shares: FloatArray, slopes: FloatArray) -> float:
    """Return the standard deviation of `slopes` under `shares`, both of shape (cells,)."""
    widest = float(np.abs(slopes).max(initial=0.0))
    if widest == 0.0:
        return 0.0
    # Squares of what is at most one neither overflow nor vanish.
    scaled = slopes / widest
    mean = float(np.dot(shares, scaled))
    return widest * math.sqrt(max(0.0, float(np.dot(shares, (scaled - mean) ** 2))))


def doubtful_noise(difference: FloatArray, error: FloatArray, weight: FloatArray) -> float:
    """Sum of |noise| where the sign of `difference` is in doubt: an absolute sum's upward bias.

    Parameters
    ----------
    difference, error, weight : ndarray of float64, shape (k,)
        Estimated difference, its standard error without drift, its weight in the sum.
    """
    doubt = np.abs(difference) < IN_DOUBT * error
    return float(MEAN_NOISE * np.sum(weight[doubt] * error[doubt]))


def shares_of(counts: CountArray) -> FloatArray:
    """Return counts over their sum."""
    return np.asarray(counts / counts.sum(), dtype=np.float64)
