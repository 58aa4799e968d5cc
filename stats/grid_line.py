"""The distances of two samples over one grid: what `line` measures of sorted ones.

Between two edges both distribution functions only rise, so that what they are at the edges bounds
how far apart they come. A cell in which F - G keeps its sign has an area that follows from the
mean of its rows. Only cells in which the sign may change, or the largest gap may lie, are opened.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray
from stats.confidence import doubtful_noise
from stats.ecdf import Ecdf
from stats.gridded import Gridded, Prepared
from stats.line import Line, Spread, dot, measure, merged

OFF_GRID = 1 / 64
"""Share of current rows beyond the reference's from which both are sorted after all."""
_ROUNDING = 1e-12
"""By how much two equal gaps may differ."""


def measure_prepared(before: Prepared, now: Prepared) -> Line:
    """Return the distances of two samples that are not empty, the second prepared beside the first.

    `gap`, `at` and `area` are those of the rows, as of `measure`; `noise` and the spreads, of which
    intervals are made, are taken at the grid's edges and at the rows beyond them.
    """
    if isinstance(before, Ecdf) or isinstance(now, Ecdf) or not _comparable(before, now):
        return measure(_sorted(before), _sorted(now))
    edges = _edges(before, now)
    width = np.diff(edges)
    f, g = before.cumulative / before.n, now.cumulative / now.n
    difference = f - g
    least, most = difference[:-1] - np.diff(g), difference[:-1] + np.diff(f)
    filled = before.counts + now.counts > 0
    chosen = filled & (np.maximum(most, -least) >= np.abs(difference).max() - _ROUNDING)
    chosen |= (least < 0.0) & (most > 0.0)
    # Rows of the guards and beside an atom lie anywhere between their edges; an atom has no width.
    middle = before.grid.atom_cell()
    loose = [0, -1] if middle is None else [0, -1, middle - 1, middle + 1]
    chosen[loose] |= filled[loose]
    if middle is not None:
        chosen[middle] = False
    inside = difference[:-1] + (before.counts - before.parts) / before.n
    inside -= (now.counts - now.parts) / now.n
    area = dot(np.abs(inside[~chosen]), width[~chosen])
    shape = _Shape(edges, f, g)
    gap, at = -1.0, math.nan
    if chosen.any():
        opened = _opened(before, now, chosen)
        gap, at = opened.largest()
        area += opened.area(edges, difference)
        shape = opened.beside(shape)
    atom = before.grid.atom
    if middle is not None and atom is not None:
        of_atom = abs(float(difference[middle + 1]))
        if of_atom > gap or (of_atom == gap and atom < at):
            gap, at = of_atom, atom
    return _line((gap, at, area), shape, (before.n, now.n))


def _sorted(sample: Prepared) -> Ecdf:
    return sample if isinstance(sample, Ecdf) else Ecdf.of(sample.rows)


def _comparable(before: Gridded, now: Gridded) -> bool:
    """Whether both lie on one grid, as good as all of them."""
    off = now.counts[0] + now.counts[-1]
    return before.grid == now.grid and bool(off <= OFF_GRID * now.n)


def _edges(before: Gridded, now: Gridded) -> FloatArray:
    """Edges of all cells from the grid's origin; the guards reach as far as there are rows."""
    inner, origin = before.grid.edges(), before.grid.origin
    least = min(before.rows.min(), now.rows.min()) - origin
    most = max(before.rows.max(), now.rows.max()) - origin
    return np.concatenate(([min(inner[0], least)], inner, [max(inner[-1], most)]))


class _Shape(NamedTuple):
    """Both distribution functions at ascending places from the grid's origin."""

    along: FloatArray
    f: FloatArray
    g: FloatArray


class _Opened(NamedTuple):
    """The distinct rows of the chosen cells, and both distribution functions at each.

    Attributes
    ----------
    points, along : ndarray of float64, shape (k,)
        Ascending, and the same from the grid's origin.
    cell : ndarray of intp, shape (k,)
    f, g, size : ndarray of float64, shape (k,)
        `size` is that of their difference.
    """

    points: FloatArray
    along: FloatArray
    cell: npt.NDArray[np.intp]
    f: FloatArray
    g: FloatArray
    size: FloatArray

    def largest(self) -> tuple[float, float]:
        """Return the largest gap and where it is."""
        place = int(np.argmax(self.size))
        return float(self.size[place]), float(self.points[place])

    def area(self, edges: FloatArray, difference: FloatArray) -> float:
        """Return the area in the cells; `difference` is that at the edges."""
        along, cell = self.along, self.cell
        # Each point's gap lasts to the next one of its cell, or to the cell's end.
        until = np.append(along[1:], edges[-1])
        last = np.append(cell[1:] != cell[:-1], True)
        until[last] = edges[cell[last] + 1]
        first = np.append(True, last[:-1])
        start = cell[first]
        ahead = dot(np.abs(difference[start]), along[first] - edges[start])
        return dot(self.size, until - along) + ahead

    def beside(self, shape: _Shape) -> _Shape:
        """Return the shape with a step at each row of the guards, which may be very wide."""
        guards = self.cell == 0, self.cell == shape.along.size - 2
        below, above = (np.repeat(np.flatnonzero(guard), 2) for guard in guards)
        parts = []
        for edges, inside in zip(shape, (self.along, self.f, self.g), strict=True):
            low, high = inside[below], inside[above]
            if edges is not shape.along:
                # Up to a row it is what it was at the row before.
                low = np.append(edges[:1], low)[: low.size]
                high = np.append(edges[-2], high)[: high.size]
            parts.append(np.concatenate((edges[:1], low, edges[1:-1], high, edges[-1:])))
        return _Shape(*parts)


def _opened(before: Gridded, now: Gridded, chosen: BoolArray) -> _Opened:
    here, there = before.open(chosen), now.open(chosen)
    points, rows, others = merged(here.support, there.support)
    cell = before.grid.place(points).cell
    f = (before.skipped(chosen)[cell] + here.cumulative[rows]) / before.n
    g = (now.skipped(chosen)[cell] + there.cumulative[others]) / now.n
    return _Opened(points, points - before.grid.origin, cell, f, g, np.abs(f - g))


def _line(found: tuple[float, float, float], shape: _Shape, sizes: tuple[int, int]) -> Line:
    """Add what intervals are made of, with F and G in the middle of each cell."""
    (along, f, g), (m, n) = shape, sizes
    width = np.diff(along)
    f_middle, g_middle = (f[1:] + f[:-1]) / 2.0, (g[1:] + g[:-1]) / 2.0
    difference = f_middle - g_middle
    pooled = (m * f_middle + n * g_middle) / (m + n)
    error = np.sqrt(np.maximum(0.0, pooled * (1.0 - pooled)) * (1.0 / m + 1.0 / n))
    widest = float(width.sum())
    steps = np.sign(difference) * (width / widest)
    heights = np.cumsum(steps) - steps / 2.0
    spreads = Spread(), Spread()
    spreads[0].add(np.diff(f), heights)
    spreads[1].add(np.diff(g), heights)
    return Line(
        *found,
        noise=doubtful_noise(np.abs(difference), error, width),
        spread_before=widest * spreads[0].std(),
        spread_now=widest * spreads[1].std(),
    )
