"""Distances between two rows of shares: Jensen-Shannon, Hellinger, total variation, KL.

All take counts over the same cells and return the value of the observed shares, zeros included,
but for KL, which needs the smoothing of PSI to be finite.
"""

import math

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray, as_count_pair
from stats.confidence import Z, doubtful_noise, local_interval
from stats.results import Interval, Measurement
from stats.shares import SharePair

LN2 = math.log(2.0)


def js_distance(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Square root of the Jensen-Shannon divergence in bits.

    Returns
    -------
    Measurement
        `value` in [0, 1]; symmetric; a metric. 1 when no cell is shared.

    References
    ----------
    J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information
    Theory 37 (1991) 145-151. D. Endres and J. Schindelin, same journal 49 (2003) 1858-1860.
    """
    pair = SharePair.of(reference, current)
    smooth = (pair.p_smooth + pair.q_smooth) / 2.0
    variance = pair.variance(
        np.log(pair.p_smooth / smooth) / 2.0, np.log(pair.q_smooth / smooth) / 2.0
    )
    return _root(pair, _js_nats(pair), variance, LN2)


def js_value(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Return `js_distance` without its interval, which is most of the work."""
    return math.sqrt(min(1.0, _js_nats(SharePair.of(reference, current)) / LN2))


def hellinger(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Square root of half the sum of squared differences of root shares.

    Returns
    -------
    Measurement
        `value` in [0, 1]; symmetric; a metric.
    """
    pair = SharePair.of(reference, current)
    square = float(((np.sqrt(pair.q) - np.sqrt(pair.p)) ** 2).sum()) / 2.0
    root = np.sqrt(pair.q_smooth / pair.p_smooth)
    return _root(pair, square, pair.variance(-root / 2.0, -0.5 / root), 1.0)


def total_variation(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Half the sum of absolute differences: the share of rows that changed cells.

    Returns
    -------
    Measurement
        `value` in [0, 1]; symmetric; a metric. The interval takes off the noise that equal
        shares show where the sign of the difference is in doubt.
    """
    pair = SharePair.of(reference, current)
    difference = pair.q - pair.p
    value = float(np.abs(difference).sum()) / 2.0
    pooled = (pair.m * pair.p + pair.n * pair.q) / (pair.m + pair.n)
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / pair.m + 1.0 / pair.n))
    bias = doubtful_noise(difference, error, np.full(error.shape, 0.5))
    sign = np.sign(difference) / 2.0
    half = Z * math.sqrt(pair.variance(sign, sign))
    interval = Interval(max(0.0, value - bias - half), min(1.0, value + half))
    return Measurement(value, interval, pair.m, pair.n)


def kl_divergence(reference: npt.ArrayLike, current: npt.ArrayLike) -> Measurement:
    """Sum of q ln(q / p) in nats, of current from reference, with 0.5 added to every count.

    Returns
    -------
    Measurement
        `value` in [0, inf); not symmetric.
    """
    pair = SharePair.of(reference, current)
    p, q = pair.p_smooth, pair.q_smooth
    ratio = np.log(q / p)
    value = _kl(pair)
    variance = pair.variance(-q / p, 1.0 + ratio)
    interval = local_interval(value, 0.5, variance, pair.degrees, pair.pair)
    return Measurement(value, interval, pair.m, pair.n)


def likelihood_ratio(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """G (1/m + 1/n) of homogeneity, with 0.5 added to every count: in PSI's unit.

    G is twice the sum of both windows' KL divergences from their pooled counts, times their rows.
    """
    before, now = as_count_pair(reference, current)
    first, second = SharePair.of(before + now, before), SharePair.of(before + now, now)
    m, n = first.n, second.n
    return 2.0 * (m * _kl(first) + n * _kl(second)) * (1.0 / m + 1.0 / n)


def _kl(pair: SharePair) -> float:
    q = pair.q_smooth
    return max(0.0, float(np.dot(q, np.log(q / pair.p_smooth))))


def _js_nats(pair: SharePair) -> float:
    middle = (pair.p + pair.q) / 2.0
    return max(0.0, (_entropy_gap(pair.p, middle) + _entropy_gap(pair.q, middle)) / 2.0)


def _entropy_gap(shares: FloatArray, middle: FloatArray) -> float:
    """Sum of s ln(s / middle); what is empty adds nothing."""
    filled = shares > 0.0
    return float(np.dot(shares[filled], np.log(shares[filled] / middle[filled])))


def _root(pair: SharePair, square: float, variance: float, unit: float) -> Measurement:
    """Root of a squared distance (curvature 1/8) and of its interval, after division by `unit`."""
    inside = local_interval(square, 0.125, variance, pair.degrees, pair.pair)
    ends = np.sqrt(np.clip(np.array([square, inside.low, inside.high]) / unit, 0.0, 1.0))
    value, low, high = _floats(ends)
    return Measurement(value, Interval(low, high), pair.m, pair.n)


def _floats(array: FloatArray) -> tuple[float, float, float]:
    first, second, third = array.tolist()
    return first, second, third
