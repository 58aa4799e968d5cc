"""A large sample that is not sorted: counted by the cells of a grid, of which few are opened.

Sorting a million rows takes 10 to 50 ms of CPU, counting them by cell 6. Order statistics and the
distances of two samples depend on the rows' order in a few cells only, which are sorted on demand.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, CountArray, FloatArray, Values, as_values
from stats.ecdf import Ecdf, rank_of
from stats.errors import NotEnoughSamples
from stats.grid import Grid, grid_of

LEAST_ROWS = 1 << 16
"""Fewer rows are sorted sooner than counted."""
_BLOCK = 1 << 15
"""Rows that are placed at a time, so that what is made of them stays in a processor's cache."""


@dataclass(slots=True, eq=False)
class Gridded:
    """A sample by cell; `cells` counts both guards.

    Attributes
    ----------
    grid : Grid
        Its own, or that of the reference it is compared with.
    rows : ndarray of float64, shape (n,)
        Finite rows in any order.
    place : ndarray of uint16, shape (n,)
        Cell of each.
    counts : ndarray of int64, shape (cells,)
        Rows by cell.
    cumulative : ndarray of int64, shape (cells + 1,)
        Rows below each cell, and all of them at the end.
    parts : ndarray of float64, shape (cells,)
        Sum over a cell's rows of how far they lie inside, in cells.
    """

    grid: Grid
    rows: FloatArray
    place: npt.NDArray[np.uint16]
    counts: CountArray
    cumulative: CountArray
    parts: FloatArray
    _opened: tuple[BoolArray, Ecdf] | None = field(init=False, repr=False, default=None)
    _std: float | None = field(init=False, repr=False, default=None)

    @classmethod
    def of(cls, rows: FloatArray, grid: Grid) -> "Gridded":
        """Count finite rows by cell."""
        cells = grid.cells + 2
        counts, parts = np.zeros(cells, np.int64), np.zeros(cells)
        place = np.empty(rows.size, np.uint16)
        for start in range(0, rows.size, _BLOCK):
            cell, part = grid.place(rows[start : start + _BLOCK])
            place[start : start + _BLOCK] = cell
            counts += np.bincount(cell, minlength=cells)
            parts += np.bincount(cell, weights=part, minlength=cells)
        return cls(grid, rows, place, counts, np.append(0, np.cumsum(counts)), parts)

    @property
    def n(self) -> int:
        """Rows."""
        return self.rows.size

    def open(self, cells: BoolArray) -> Ecdf:
        """Return the rows of these cells, sorted; the last answer is kept.

        Parameters
        ----------
        cells : ndarray of bool, shape (cells,)
        """
        if self._opened is None or not np.array_equal(cells, self._opened[0]):
            self._opened = cells, self._sort(cells)
        return self._opened[1]

    def _sort(self, cells: BoolArray) -> Ecdf:
        atom, middle = self.grid.atom, self.grid.atom_cell()
        if atom is None or middle is None or not cells[middle]:
            parts = [
                self.rows[start : start + _BLOCK].compress(
                    # Not by an index, which would copy the places to a wider type first.
                    cells.take(self.place[start : start + _BLOCK], mode="clip")
                )
                for start in range(0, self.n, _BLOCK)
            ]
            return Ecdf.of(np.concatenate(parts) if parts else self.rows)
        others = cells.copy()
        others[middle] = False
        return self._sort(others).merge(Ecdf.of([atom], [int(self.counts[middle])]))

    def order(self, ranks: CountArray) -> FloatArray:
        """Return the order statistics of these ranks, each in [0, n)."""
        cell = np.searchsorted(self.cumulative, ranks, side="right") - 1
        opened, skipped = self._around(cell)
        return opened.order(ranks - skipped[cell])

    def heavier(self, rows: float) -> FloatArray:
        """Return the values that more than so many rows have, ascending."""
        return self._around(np.flatnonzero(self.counts > rows))[0].heavier(rows)

    def below(self, points: FloatArray) -> CountArray:
        """Return how many rows lie below each point."""
        cell = self.grid.place(points).cell
        opened, skipped = self._around(cell)
        return skipped[cell] + opened.below(points)

    def quantile(self, share: float) -> float:
        """Smallest value with at least `share` of the rows at or below it."""
        return float(self.order(np.array([rank_of(share, self.n)]))[0])

    def iqr(self) -> float:
        """Distance of the quartiles."""
        low, high = self.order(np.array([rank_of(0.25, self.n), rank_of(0.75, self.n)])).tolist()
        return float(high - low)

    def std(self) -> float:
        """Return the standard deviation (divisor n) as `Ecdf.std` does."""
        if self._std is None:
            self._std = self._spread()
        return self._std

    def _spread(self) -> float:
        # A mean lies within one sd of the median: nothing that counts cancels around it.
        middle = self.quantile(0.5)
        widest = max(float(self.rows.max()) - middle, middle - float(self.rows.min()))
        total = square = 0.0
        for start in range(0, self.n, _BLOCK):
            # Squares of what is at most one neither overflow nor vanish.
            scaled = (self.rows[start : start + _BLOCK] - middle) / widest
            total += float(scaled.sum())
            # Not by BLAS, whose threads would take a second processor for nothing.
            square += float(np.einsum("i,i->", scaled, scaled))
        mean = total / self.n
        return widest * float(np.sqrt(max(0.0, square / self.n - mean * mean)))

    def skipped(self, cells: BoolArray) -> CountArray:
        """Return the rows below each cell that are in none of `cells`, shape (cells,)."""
        opened = np.cumsum(np.where(cells, self.counts, 0))
        return np.asarray(self.cumulative[:-1] - np.append(0, opened[:-1]))

    def _around(self, cell: npt.NDArray[np.intp]) -> tuple[Ecdf, CountArray]:
        wanted = np.zeros(self.counts.size, bool)
        wanted[cell] = True
        kept = None if self._opened is None else self._opened[0]
        if kept is not None and bool(kept[cell].all()):
            wanted = kept
        return self.open(wanted), self.skipped(wanted)


Prepared = Ecdf | Gridded
"""A sample in either form."""
PreparedPair = tuple[Prepared, Prepared]


def prepare(values: Values) -> Prepared:
    """Return a reference in the form that is sooner made; NaN and infinities are left out."""
    rows = _finite(values)
    grid = grid_of(rows) if rows.size >= LEAST_ROWS else None
    return Ecdf.of(rows) if grid is None else Gridded.of(rows, grid)


def prepare_beside(values: Values, reference: Prepared) -> Prepared:
    """Return a current window in the form of its reference."""
    if isinstance(reference, Ecdf):
        return Ecdf.of(values)
    return Gridded.of(_finite(values), reference.grid)


def prepared_pair(reference: Values | Prepared, current: Values | Prepared) -> PreparedPair:
    """Prepare both windows.

    Raises
    ------
    NotEnoughSamples
        If one of them has no finite row.
    """
    before = reference if isinstance(reference, Ecdf | Gridded) else prepare(reference)
    now = current if isinstance(current, Ecdf | Gridded) else prepare_beside(current, before)
    for sample, name in ((before, "reference"), (now, "current window")):
        if sample.n < 1:
            raise NotEnoughSamples(sample.n, 1, name)
    return before, now


def _finite(values: Values) -> FloatArray:
    array = as_values(values)
    known = np.isfinite(array)
    return array if known.all() else array[known]
