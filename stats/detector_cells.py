"""Cells that a detector ranks in: finer than those of people, from what a baseline keeps."""

from dataclasses import replace

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.cells import TAIL_ROWS, NumericCells
from stats.ecdf import Ecdf

DETECTOR_BINS = 32
"""Parts of the reference; rank bets lose less than 0.1 % of their power over as many."""
TAIL_SHARE = 1 / 512
"""The outermost cells hold this share each, so that few rows far out stand out."""


def detector_cells(own: NumericCells, sample: Ecdf) -> NumericCells:
    """Cut a reference into some 40 cells.

    Parameters
    ----------
    own : NumericCells
        The baseline's cells of the feature; their `low` and `high` bound the reference.
    sample : Ecdf
        Its rows, or evenly spaced order statistics of them.
    """
    bins = min(DETECTOR_BINS, sample.n)
    tails = [sample.quantile(TAIL_SHARE), sample.quantile(1.0 - TAIL_SHARE)]
    inner = NumericCells.from_reference(sample, bins=bins).edges[1:-1] if bins > 1 else ()
    ends = [own.low, np.nextafter(own.high, np.inf)]
    edges = np.unique(np.concatenate((ends, inner, tails)))
    within = edges[(edges >= ends[0]) & (edges <= ends[1]) & np.isfinite(edges)]
    return replace(own, edges=tuple(within.tolist()))


def reference_counts(
    cells: NumericCells, own: NumericCells, counts: CountArray, sample: Ecdf
) -> CountArray:
    """Count a reference over the cells of its detector.

    Parameters
    ----------
    cells : NumericCells
        From `detector_cells`.
    own, counts : NumericCells and ndarray of int64, shape (own.size,)
        The baseline's cells and all its rows over them.
    sample : Ecdf
        As it went into `detector_cells`. If it is thinner than the counts, order statistics
        stand for the middle of equal parts.

    Returns
    -------
    ndarray of int64, shape (cells.size,)
        Exact if the sample is whole; else within a part of the sample at every edge.
    """
    line = int(counts[: own.ordered].sum())
    tail = counts[-TAIL_ROWS:]
    edges = np.asarray(cells.edges)
    below = np.rint(_share_below(sample, edges, whole=line <= sample.n) * line)
    rows = np.diff(np.concatenate(([0.0], below, [float(line)])))
    return np.concatenate((rows.astype(np.int64), tail))


def _share_below(sample: Ecdf, edges: FloatArray, *, whole: bool) -> FloatArray:
    place = np.searchsorted(sample.support, edges, side="left")
    rows = sample.cumulative[place].astype(np.float64)
    if not whole:
        # A lone order statistic is the middle of its part; a repeated one is a value of its own.
        at = np.minimum(place, sample.support.size - 1)
        lone = (sample.support[at] == edges) & (sample.counts[at] == 1)
        rows = rows + 0.5 * lone
    return np.asarray(rows / sample.n, dtype=np.float64)
