"""Some ten thousand cells that a large sample falls into by arithmetic, without being sorted.

Cells are equally wide in the value or, where the sample is skewed, in its logarithm: in the bits
of a double, which rise with its value and are linear between two powers of two. Either map never
decreases, so that rows of different cells are in order whatever rounding did to the edges.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray

CELLS = 1 << 15
"""At most, between the guards: their tables then stay in a processor's second cache."""
LEAST_FILLED = 1 / 2
"""Share of tried rows with a cell to themselves from which a grid is worth it."""
ATOM_SHARE = 1 / 32
"""Share of tried rows from which a value has a cell to itself."""
_TRIED = 1 << 12
_ROOM = 1.0 + 2.0**-40
"""Over the range, so that the greatest value lies below the last edge."""


class Placed(NamedTuple):
    """Where rows lie.

    Attributes
    ----------
    cell : ndarray of intp, shape (n,)
        0 below the grid, 1 to `cells` on it, `cells` + 1 above.
    part : ndarray of float64, shape (n,)
        How far from the lower to the upper edge of its cell, in [0, 1); without meaning in the
        guards and beside an atom.
    """

    cell: npt.NDArray[np.intp]
    part: FloatArray


@dataclass(frozen=True, slots=True)
class Grid:
    """A map from numbers to cells.

    Attributes
    ----------
    low : float
        First edge.
    step : float
        Width of a cell; 0.0 on a logarithmic grid.
    shift : int
        Bits of a double within a cell of a logarithmic grid.
    even : int
        Cells of this width, without the two guards.
    atom : float or None
        A value that many rows have, which divides its cell into three: what is less, itself and
        what is more.
    """

    low: float
    step: float
    shift: int
    even: int
    atom: float | None = None

    @property
    def cells(self) -> int:
        """All cells without the two guards."""
        return self.even if self.atom is None else self.even + 2

    def atom_cell(self) -> int | None:
        """Cell of the atom alone; what is less and more of its cell lies on either side."""
        return None if self.atom is None else int(self.place(np.array([self.atom])).cell[0])

    def place(self, rows: FloatArray) -> Placed:
        """Return the cell of each finite row, and how far inside."""
        found = self._place_evenly(rows)
        if self.atom is not None:
            cell = found.cell
            cell += rows >= self.atom
            cell += rows > self.atom
        return found

    def _place_evenly(self, rows: FloatArray) -> Placed:
        if self.step == 0.0:
            first = _bits(self.low)
            bits = np.ascontiguousarray(rows).view(np.int64)
            # Bits of negative numbers are negative.
            bits = np.clip(bits, first - 1, first + (self.even << self.shift)) - first
            part = (bits & ((1 << self.shift) - 1)).astype(np.float64) * 0.5**self.shift
            return Placed((bits >> self.shift) + 1, part)
        with np.errstate(over="ignore"):
            along = (rows - self.low) / self.step
        np.maximum(along, -1.0, out=along)
        np.minimum(along, float(self.even), out=along)
        whole = np.floor(along)
        along -= whole
        whole += 1.0
        return Placed(whole.astype(np.intp), along)

    @property
    def origin(self) -> float:
        """What `edges` are counted from, so that they are exact for values near 1e9 too."""
        return 0.0 if self.step == 0.0 else self.low

    def edges(self) -> FloatArray:
        """Return the edges between the guards less `origin`, shape (cells + 1,)."""
        even = np.arange(self.even + 1)
        edges: FloatArray
        if self.step == 0.0:
            edges = ((even.astype(np.int64) << self.shift) + _bits(self.low)).view(np.float64)
        else:
            edges = even.astype(np.float64) * self.step
        middle = self.atom_cell()
        if self.atom is None or middle is None:
            return edges
        return np.insert(edges, middle - 1, [self.atom - self.origin] * 2)


def grid_of(rows: FloatArray) -> Grid | None:
    """Return the grid over which finite rows spread best; None if they spread over neither.

    Discrete rows and those with one far outlier do not: they are better sorted.
    """
    tried = rows[:: max(1, rows.size // _TRIED)]
    low, high = float(rows.min()), float(rows.max())
    values, times = np.unique(tried, return_counts=True)
    place = int(np.argmax(times))
    # Adding zero makes one zero of both.
    atom = float(values[place]) + 0.0 if times[place] > ATOM_SHARE * tried.size else None
    others = tried if atom is None else tried[tried != atom]
    most, best = LEAST_FILLED * others.size, None
    for grid in (_linear(low, high), _logarithmic(low, high)):
        if grid is None:
            continue
        filled = np.count_nonzero(np.bincount(grid.place(others).cell))
        if filled > most:
            most, best = float(filled), replace(grid, atom=atom)
    return best


def _linear(low: float, high: float) -> Grid | None:
    # The difference of two doubles may be none.
    step = (high - low) * (_ROOM / CELLS)
    fine = np.isfinite(step) and step > 0.0 and low + step > low and high - step < high
    return Grid(low, step, 0, CELLS) if fine else None


def _logarithmic(low: float, high: float) -> Grid | None:
    if low < np.finfo(np.float64).tiny:
        return None
    first, last = _bits(low), _bits(high)
    shift = max(0, (last - first).bit_length() - CELLS.bit_length() + 1)
    while (last >> shift) - (first >> shift) >= CELLS:
        shift += 1
    cells = (last >> shift) - (first >> shift) + 1
    start = float(np.int64(first >> shift << shift).view(np.float64))
    grid = Grid(start, 0.0, shift, cells)
    return grid if np.isfinite(grid.edges()[-1]) else None


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))
