"""Energy distance: the root of twice the squared area between two distribution functions."""

import math

import numpy as np

from stats.ecdf import Sample, as_pair
from stats.quadratic_law import root_interval
from stats.results import Interval, Measurement


def energy_distance(reference: Sample, current: Sample) -> Measurement:
    """Root of 2 * integral of (F - G)^2.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) and (n,), or Ecdf
        Raw rows; NaN and infinities are left out. Ties are sound.

    Returns
    -------
    Measurement
        `value` in [0, inf), in the root of the rows' unit; symmetric; a metric. Equal to scipy's
        `energy_distance`, and to the root of 2 E|X - Y| - E|X - X'| - E|Y - Y'|.

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row.

    References
    ----------
    G. J. Szekely and M. L. Rizzo, Energy statistics, Journal of Statistical Planning and
    Inference 143 (2013) 1249-1272.

    Examples
    --------
    >>> energy_distance([0.0], [8.0]).value
    4.0
    """
    before, now = as_pair(reference, current)
    points = np.union1d(before.support, now.support)
    f, g = before.at(points)[:-1], now.at(points)[:-1]
    width = np.diff(points)
    square = 2.0 * float(width @ (f - g) ** 2)
    noise = 2.0 * float(width @ (f * (1.0 - f) / before.n + g * (1.0 - g) / now.n))
    inside = root_interval(square, noise)
    return Measurement(
        math.sqrt(square),
        Interval(math.sqrt(inside.low), math.sqrt(inside.high)),
        before.n,
        now.n,
    )
