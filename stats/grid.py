"""Some ten thousand cells that a large sample falls into by arithmetic, without being sorted.

Cells are equally wide in the value or, where the sample is skewed, in its logarithm: in the bits
of a double, which rise with its value and are linear between two powers of two. Either map never
decreases, so that rows of different cells are in order whatever rounding did to the edges.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import FloatArray

CELLS = 1 << 15
"""At most, between the guards: their tables then stay in a processor's second cache."""
LEAST_FILLED = 1 / 2
"""Share of tried rows with a cell to themselves from which a grid is worth it."""
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
        guards.
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
    cells : int
        Without the two guards.
    """

    low: float
    step: float
    shift: int
    cells: int

    def place(self, rows: FloatArray) -> Placed:
        """Return the cell of each finite row, and how far inside."""
        if self.step == 0.0:
            first = _bits(self.low)
            bits = np.ascontiguousarray(rows).view(np.int64)
            # Bits of negative numbers are negative.
            bits = np.clip(bits, first - 1, first + (self.cells << self.shift)) - first
            part = (bits & ((1 << self.shift) - 1)).astype(np.float64) * 0.5**self.shift
            return Placed((bits >> self.shift) + 1, part)
        with np.errstate(over="ignore"):
            along = (rows - self.low) / self.step
        np.maximum(along, -1.0, out=along)
        np.minimum(along, float(self.cells), out=along)
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
        if self.step == 0.0:
            steps = np.arange(self.cells + 1, dtype=np.int64) << self.shift
            return (steps + _bits(self.low)).view(np.float64)
        return np.arange(self.cells + 1, dtype=np.float64) * self.step


def grid_of(rows: FloatArray) -> Grid | None:
    """Return the grid over which finite rows spread best; None if they spread over neither.

    Discrete rows and those with one far outlier do not: they are better sorted.
    """
    tried = rows[:: max(1, rows.size // _TRIED)]
    low, high = float(rows.min()), float(rows.max())
    most, best = LEAST_FILLED * tried.size, None
    for grid in (_linear(low, high), _logarithmic(low, high)):
        if grid is None:
            continue
        filled = np.count_nonzero(np.bincount(grid.place(tried).cell))
        if filled > most:
            most, best = float(filled), grid
    return best


def _linear(low: float, high: float) -> Grid | None:
    # Half of each, since the difference of two doubles may be none.
    step = (high / 2.0 - low / 2.0) * (2.0 * _ROOM / CELLS)
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
