"""Kolmogorov-Smirnov distance, exact from rows; `sketch_distance` has bounds from buckets."""

from stats.arrays import Values
from stats.confidence import LEVEL, dkw_band
from stats.grid_line import measure_prepared
from stats.gridded import Prepared, prepared_pair
from stats.line import Line
from stats.results import Interval, Ks


def ks(reference: Values | Prepared, current: Values | Prepared) -> Ks:
    """Largest distance of the two empirical distribution functions.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) and (n,), or prepared
        Raw rows; NaN and infinities are left out. Ties are sound.

    Returns
    -------
    Ks
        `value` in [0, 1]; symmetric; the same after any increasing map of both windows. The
        interval holds for any law and any size (Massart's bound on both windows).

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row.

    Examples
    --------
    >>> ks([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]).value
    0.5
    """
    before, now = prepared_pair(reference, current)
    return ks_of(measure_prepared(before, now), before.n, now.n)


def ks_of(line: Line, m: int, n: int) -> Ks:
    """Return D of windows that were measured already."""
    return Ks(line.gap, ks_interval(line.gap, m, n), m, n, Interval(line.gap, line.gap), line.at)


def ks_interval(d: float, m: int, n: int) -> Interval:
    """Return the 95 % interval of a distance of two windows, for any law and size."""
    # Half of the error probability for each window.
    level = (1.0 + LEVEL) / 2.0
    half = dkw_band(m, level) + dkw_band(n, level)
    return Interval(max(0.0, d - half), min(1.0, d + half))
