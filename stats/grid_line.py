"""The distances of two samples over one grid: what `line` measures of sorted ones.

Between two edges both distribution functions only rise, so that what they are at the edges bounds
how far apart they come. A cell in which F - G keeps its sign has an area that follows from the
mean of its rows. Only cells in which the sign may change, or the largest gap may lie, are opened.
"""

import math

import numpy as np

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
    intervals are made, are taken at the grid's edges.
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
    gap, at, rest = _opened(before, now, chosen, edges) if chosen.any() else (-1.0, math.nan, 0.0)
    atom = before.grid.atom
    if middle is not None and atom is not None:
        of_atom = abs(float(difference[middle + 1]))
        if of_atom > gap or (of_atom == gap and atom < at):
            gap, at = of_atom, atom
    return _line((gap, at, area + rest), (f, g), width, (before.n, now.n))


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


def _opened(
    before: Gridded, now: Gridded, chosen: BoolArray, edges: FloatArray
) -> tuple[float, float, float]:
    """Return the largest gap, where it is, and the area in the chosen cells."""
    here, there = before.open(chosen), now.open(chosen)
    points, rows, others = merged(here.support, there.support)
    cell = before.grid.place(points).cell
    below_here, below_there = before.skipped(chosen), now.skipped(chosen)
    difference = (below_here[cell] + here.cumulative[rows]) / before.n
    difference -= (below_there[cell] + there.cumulative[others]) / now.n
    size = np.abs(difference)
    place = int(np.argmax(size))
    # Each point's gap lasts to the next one of its cell, or to the cell's end.
    along = points - before.grid.origin
    until = np.append(along[1:], edges[-1])
    last = np.append(cell[1:] != cell[:-1], True)
    until[last] = edges[cell[last] + 1]
    area = dot(size, until - along)
    first = np.append(True, last[:-1])
    start = cell[first]
    before_first = np.abs(before.cumulative[start] / before.n - now.cumulative[start] / now.n)
    area += dot(before_first, along[first] - edges[start])
    return float(size[place]), float(points[place]), area


def _line(
    found: tuple[float, float, float],
    shares: tuple[FloatArray, FloatArray],
    width: FloatArray,
    sizes: tuple[int, int],
) -> Line:
    """Add what intervals are made of, with F and G in the middle of each cell."""
    (f, g), (m, n) = shares, sizes
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
