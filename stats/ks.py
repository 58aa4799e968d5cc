"""Kolmogorov-Smirnov distance, exact from rows and with bounds from cells."""

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray, as_count_pair
from stats.cells import NumericCells
from stats.confidence import LEVEL, dkw_band
from stats.ecdf import Sample, as_pair
from stats.errors import NotEnoughSamples
from stats.results import Interval, Ks


def ks(reference: Sample, current: Sample) -> Ks:
    """Largest distance of the two empirical distribution functions.

    Parameters
    ----------
    reference, current : array_like of float, shape (m,) and (n,), or Ecdf
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
    before, now = as_pair(reference, current)
    points = np.union1d(before.support, now.support)
    gap = np.abs(before.at(points) - now.at(points))
    place = int(np.argmax(gap))
    d = float(gap[place])
    inside = ks_interval(d, before.n, now.n)
    return Ks(d, inside, before.n, now.n, bounds=Interval(d, d), at=float(points[place]))


def ks_from_cells(cells: NumericCells, reference: npt.ArrayLike, current: npt.ArrayLike) -> Ks:
    """Return D at the cells' edges, and the most that it can be between them.

    Parameters
    ----------
    cells : NumericCells
    reference, current : array_like of int, shape (cells.size,)
        Counts; `invalid` and `missing` take no part.

    Returns
    -------
    Ks
        `value` never exceeds D of the rows, and falls short by less than the largest share of
        a cell that holds more than one value; `bounds` has both ends.
    """
    before, now = line_pair(cells, reference, current)
    f, g = line_shares(before), line_shares(now)
    gap = np.abs(f - g)[1:-1]
    place = int(np.argmax(gap))
    d = float(gap[place])
    most = np.maximum(f[1:] - g[:-1], g[1:] - f[:-1])
    edges = np.asarray(cells.edges)
    # Nothing lies between the edges of a cell with a single value; the guards are open.
    several = np.concatenate(([True], np.nextafter(edges[:-1], np.inf) < edges[1:], [True]))
    bounds = Interval(d, max(d, min(1.0, float(most[several].max()))))
    m, n = int(before.sum()), int(now.sum())
    return Ks(d, ks_interval(d, m, n), m, n, bounds=bounds, at=cells.edges[place])


def line_pair(
    cells: NumericCells, reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[CountArray, CountArray]:
    """Check two count vectors and keep their ordered cells.

    Raises
    ------
    NotEnoughSamples
        If a window has only invalid and missing rows.
    """
    p, q = as_count_pair(reference, current)
    before, now = cells.on_line(p), cells.on_line(q)
    for counts, window in ((before, "reference"), (now, "current window")):
        if not counts.sum():
            raise NotEnoughSamples(0, 1, window)
    return before, now


def line_shares(counts: CountArray) -> FloatArray:
    """Share of rows below each edge, with 0 before the first cell and 1 after the last."""
    below = np.concatenate(([0], np.cumsum(counts)))
    return np.asarray(below / below[-1], dtype=np.float64)


def ks_interval(d: float, m: int, n: int) -> Interval:
    """Return the 95 % interval of a distance of two windows, for any law and size."""
    # Half of the error probability for each window.
    level = (1.0 + LEVEL) / 2.0
    half = dkw_band(m, level) + dkw_band(n, level)
    return Interval(max(0.0, d - half), min(1.0, d + half))
