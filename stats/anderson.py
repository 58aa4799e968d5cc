"""Anderson-Darling: the squared gap of two distribution functions, where tails weigh more."""

import math

import numpy as np

from stats.arrays import FloatArray
from stats.ecdf import Sample, as_pair
from stats.errors import NotEnoughSamples
from stats.quadratic_law import anderson_sf, bridge_spread, root_interval
from stats.results import SquaredGap

LEAST_TOGETHER = 4
"""Pooled rows from which the statistic has a variance."""
_VARIANCE = 2.0 * (math.pi**2 - 9.0) / 3.0
"""Of the limit law, whose mean is 1."""
_EULER = 0.5772156649015329
_SUMMED_UP_TO = 100_000


def anderson_darling(reference: Sample, current: Sample) -> SquaredGap:
    """Mean of (F - G)^2 / (H (1 - H)) over the pooled rows, whose distribution function is H.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) and (n,), or Ecdf
        Raw rows; NaN and infinities are left out. Ties take midranks.

    Returns
    -------
    SquaredGap
        `value` in [0, inf); symmetric, and the same after any monotone map of both windows.
        `statistic` is Scholz and Stephens' standardised one, scipy's
        `anderson_ksamp(variant="midrank")`; `p_value` is read from the limit law at the same
        number of standard deviations, those of ties where there are any, so that it has no floor
        or ceiling. Two equal constants: 0 and 1.

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row, or both together fewer than four.

    References
    ----------
    F. W. Scholz and M. A. Stephens, K-sample Anderson-Darling tests, JASA 82 (1987) 918-924.
    A. N. Pettitt, A two-sample Anderson-Darling rank statistic, Biometrika 63 (1976) 161-168.

    Examples
    --------
    >>> found = anderson_darling([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    >>> round(found.statistic, 4)
    3.6866
    """
    before, now = as_pair(reference, current)
    m, n = before.n, now.n
    total = m + n
    if total < LEAST_TOGETHER:
        raise NotEnoughSamples(n, LEAST_TOGETHER - m, "current window")
    points = np.union1d(before.support, now.support)
    f, g = before.at(points), now.at(points)
    # Midranks: half of the rows at a point lie below it.
    f, g = f - np.diff(f, prepend=0.0) / 2.0, g - np.diff(g, prepend=0.0) / 2.0
    pooled = (m * f + n * g) / total
    share = np.diff((m * before.at(points) + n * now.at(points)) / total, prepend=0.0)
    weight = _weight(pooled, share)
    square = float(weight @ (f - g) ** 2)
    raw = square * (total - 1.0) / total * m * n / total
    variance = _variance(m, n)
    tied = variance
    if points.size < total:
        even = np.full(total, 1.0 / total)
        tied *= _spread(pooled, share) / _spread(np.cumsum(even) - even / 2.0, even)
    noise = float(weight @ (f * (1.0 - f) / m + g * (1.0 - g) / n))
    return SquaredGap(
        value=square,
        interval=root_interval(square, noise),
        n_reference=m,
        n_current=n,
        statistic=(raw - 1.0) / math.sqrt(variance),
        p_value=(
            anderson_sf(1.0 + (raw - 1.0) * math.sqrt(_VARIANCE / tied)) if points.size > 1 else 1.0
        ),
    )


def _weight(pooled: FloatArray, share: FloatArray) -> FloatArray:
    spread = pooled * (1.0 - pooled) - share / 4.0
    # Nothing but the only value there is has no spread.
    return np.divide(share, spread, out=np.zeros_like(share), where=spread > 0.0)


def _spread(pooled: FloatArray, share: FloatArray) -> float:
    return bridge_spread(pooled, _weight(pooled, share), share)


def _variance(m: int, n: int) -> float:
    """Variance of the raw statistic without ties, for two windows."""
    total = m + n
    h, g = _harmonic_sums(total)
    inverse = 1.0 / m + 1.0 / n
    a = (4.0 * g - 6.0) + (10.0 - 6.0 * g) * inverse
    b = (2.0 * g - 4.0) * 4.0 + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * inverse
    b += -8.0 * h + 4.0 * g - 6.0
    c = (6.0 * h + 2.0 * g - 2.0) * 4.0 + (4.0 * h - 4.0 * g + 6.0) * 2.0
    c += (2.0 * h - 6.0) * inverse + 4.0 * h
    d = (2.0 * h + 6.0) * 4.0 - 8.0 * h
    scale = (total - 1.0) * (total - 2.0) * (total - 3.0)
    return (((a * total + b) * total + c) * total + d) / scale


def _harmonic_sums(total: int) -> tuple[float, float]:
    """Sum of 1 / i, i < N, and the sum over i < j < N of 1 / ((N - i) j)."""
    if total > _SUMMED_UP_TO:
        # The double sum falls short of its limit by less than 2 (log N + 1) / N.
        log = math.log(total - 1.0)
        h = log + _EULER + 0.5 / (total - 1.0)
        return h, math.pi**2 / 6.0 - (log + 1.0 + _EULER) / total
    sums = np.cumsum(1.0 / np.arange(total - 1, 1, -1))
    return float(sums[-1]) + 1.0, float((sums / np.arange(2, total)).sum())
