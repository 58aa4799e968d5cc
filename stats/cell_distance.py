"""The distance of windows of which only counts over cells are known, with bounds of the rows'."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.cells import NumericCells
from stats.ecdf import Ecdf
from stats.errors import NotEnoughSamples
from stats.results import Interval, Wasserstein
from stats.wasserstein import wasserstein


def wasserstein_from_cells(
    cells: NumericCells, sample: Ecdf, before: CountArray, now: CountArray
) -> Wasserstein:
    """Return the winsorised distance in the reference's standard deviations.

    Within a cell the rows of both windows are taken to lie as those of the sample do: exact where
    the shares of cells changed, and nothing within them. Where the sample has no row they lie in
    the middle of their cell, and outside of its range at the winsorised ends.

    Parameters
    ----------
    sample : Ecdf
        Rows that the cells were cut from, or evenly spaced order statistics of them.
    before, now : ndarray of int64, shape (cells.size,)
        Rows by cell; those of the reference may be a part of the sample's rows, such as a segment.

    Returns
    -------
    Wasserstein
        `bounds` holds the distance of the rows, in the same unit: each lies somewhere in its cell.

    Raises
    ------
    NotEnoughSamples
        If a window has no finite row.
    NoScale
        If the reference has no spread over these cells.
    """
    m, n = (int(counts[: cells.ordered].sum()) for counts in (before, now))
    for rows, window in ((m, "reference"), (n, "current window")):
        if rows < 1:
            raise NotEnoughSamples(rows, 1, window)
    inside = _Inside.of(cells, sample)
    found = wasserstein(inside.spread(before), inside.spread(now), unit="sd")
    blur = sum(
        float(inside.reach / found.scale @ (counts[: cells.ordered] / rows))
        for counts, rows in ((before, m), (now, n))
    )
    return replace(
        found,
        bounds=Interval(max(0.0, found.value - blur), found.value + blur),
        clipped_at=Interval(cells.winsor_low, cells.winsor_high),
        clipped_share=float(now[0] + now[cells.ordered - 1]) / n,
    )


class _Inside(NamedTuple):
    """Where rows lie within their cells.

    Attributes
    ----------
    points : ndarray of float64, shape (k,)
        Winsorised, those of a cell together.
    cell : ndarray of int64, shape (k,)
        Of each point.
    until : ndarray of float64, shape (k,)
        Share of its cell's rows up to each point.
    reach : ndarray of float64, shape (ordered,)
        The most that rows of a cell can lie off its points, on average.
    """

    points: FloatArray
    cell: CountArray
    until: FloatArray
    reach: FloatArray

    @classmethod
    def of(cls, cells: NumericCells, sample: Ecdf) -> "_Inside":
        ends = np.clip(cells.edges, cells.winsor_low, cells.winsor_high)
        low, high = np.append(ends[0], ends), np.append(ends, ends[-1])
        places = np.searchsorted(np.asarray(cells.edges), sample.support, side="right")
        empty = np.setdiff1d(np.arange(cells.ordered), places)
        cell = np.concatenate((places, empty)).astype(np.int64)
        # Not half the sum, which may be more than a float holds.
        middles = low[empty] / 2.0 + high[empty] / 2.0
        points = np.concatenate((np.clip(sample.support, low[0], high[-1]), middles))
        rows = np.concatenate((sample.counts, np.ones(empty.size, dtype=np.int64)))
        order = np.argsort(cell, kind="stable")
        points, cell, rows = points[order], cell[order], rows[order]
        of_cell = np.bincount(cell, weights=rows, minlength=cells.ordered)
        first = np.concatenate(([0.0], np.cumsum(of_cell)[:-1]))
        parts = rows / of_cell[cell] * points
        means = np.bincount(cell, weights=parts, minlength=cells.ordered)
        until = (np.cumsum(rows) - first[cell]) / of_cell[cell]
        return cls(points, cell, until, np.maximum(means - low, high - means))

    def spread(self, counts: CountArray) -> Ecdf:
        """Return the rows of a window, evenly over the points of their cells."""
        until = np.floor(counts[self.cell] * self.until + 0.5)
        new = np.append(True, self.cell[1:] != self.cell[:-1])
        before = np.where(new, 0.0, np.append(0.0, until[:-1]))
        return Ecdf.of(self.points, (until - before).astype(np.int64))
