"""Cramér-von Mises: the mean squared gap of two distribution functions."""

import math

import numpy as np

from stats.arrays import FloatArray
from stats.ecdf import Ecdf, Sample, as_pair
from stats.quadratic_law import bridge_spread, cvm_sf, root_interval
from stats.results import Interval, SquaredGap

VARIANCE = 1.0 / 45.0
"""Of the limit law, whose mean is 1/6."""


def cramer_von_mises(reference: Sample, current: Sample) -> SquaredGap:
    """Mean of (F - G)^2 over the pooled rows.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) and (n,), or Ecdf
        Raw rows; NaN and infinities are left out.

    Returns
    -------
    SquaredGap
        `value` in [0, 1/2], 1/3 for windows that do not overlap and have no ties; symmetric, and
        the same after any monotone map of both windows. `statistic` is Anderson's T. `p_value`
        is that of scipy's `cramervonmises_2samp(method="asymptotic")` where there are no ties.

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row.

    Notes
    -----
    Rows that are equal share the gaps on both sides of them, and the law is scaled to the mean
    and variance that T has when the pooled rows, ties included, are dealt out at random: two
    equal constants have T = 0 and p = 1, where midranks in the formula for T give p = 2e-9.

    References
    ----------
    T. W. Anderson, On the distribution of the two-sample Cramer-von Mises criterion, Annals of
    Mathematical Statistics 33 (1962) 1148-1159.

    Examples
    --------
    >>> found = cramer_von_mises([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    >>> round(found.statistic, 6), round(found.p_value, 6)
    (0.527778, 0.03074)
    """
    before, now = as_pair(reference, current)
    m, n = before.n, now.n
    total = m + n
    f, g, weight = _gaps(before, now)
    value = float(weight @ (f - g) ** 2)
    statistic = value * m * n / total
    noise = float(weight @ (f * (1.0 - f) / m + g * (1.0 - g) / n))
    inside = root_interval(value, noise)
    return SquaredGap(
        value=value,
        interval=Interval(inside.low, min(0.5, inside.high)),
        n_reference=m,
        n_current=n,
        statistic=statistic,
        p_value=_p_value(statistic, (m * f + n * g) / total, weight, (m, n)),
    )


def _gaps(before: Ecdf, now: Ecdf) -> tuple[FloatArray, FloatArray, FloatArray]:
    """F, G and the share of rows beside each gap between neighbours, half of those at each end."""
    points = np.union1d(before.support, now.support)
    f, g = before.at(points), now.at(points)
    pooled = (before.n * np.diff(f, prepend=0.0) + now.n * np.diff(g, prepend=0.0)) / (
        before.n + now.n
    )
    return f[:-1], g[:-1], (pooled[:-1] + pooled[1:]) / 2.0


def _p_value(
    statistic: float, pooled: FloatArray, weight: FloatArray, sizes: tuple[int, int]
) -> float:
    m, n = sizes
    total, product = m + n, m * n
    if pooled.size == 0:
        return 1.0
    mean = total / (total - 1.0) * float(weight @ (pooled * (1.0 - pooled)))
    exact = 4 * product * total - 3 * (m * m + n * n) - 2 * product
    variance = (total + 1) * exact / (180.0 * total * total * product)
    if pooled.size < total - 1:
        even = np.arange(1, total) / total
        variance *= _spread(pooled, weight) / _spread(even, np.full(total - 1, 1.0 / total))
    if variance <= 0.0:
        return 1.0
    return cvm_sf(1.0 / 6.0 + (statistic - mean) * math.sqrt(VARIANCE / variance))


def _spread(pooled: FloatArray, weight: FloatArray) -> float:
    return bridge_spread(pooled, weight, weight * pooled * (1.0 - pooled))
