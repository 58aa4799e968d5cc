"""References that know the hours of the week: a window is compared with its own hours."""

import dataclasses

import numpy as np

from monitors.baselines import Reference, numbers
from monitors.observed import CellCounts, Counted, NumericCounts, Window
from monitors.references.stored import HOURS, hour_of_week
from monitors.windows import SECOND_US
from monitors.windows import Window as Span
from stats.arrays import FloatArray
from stats.cells import NumericCells

_HOUR_US = 3_600 * SECOND_US


def of_window(reference: Reference, seen: Window, span: Span) -> tuple[Reference, Window]:
    """Return the part of a seasonal reference that a window is compared with, and the window.

    Each hour counts by how much of it the window holds. Hours are known by cell alone, so that a
    number is compared over cells; where its window was not counted over them, and where the window
    is a week or longer, the whole reference stays.
    """
    hours = reference.hours
    if hours is None or span.to_us - span.from_us >= len(hours) * _HOUR_US:
        return reference, seen
    if isinstance(seen, NumericCounts):
        if seen.cells is None or sum(seen.cells.values()) != seen.rows:
            return reference, seen
        counts = np.zeros(reference.cells.size, dtype=np.int64)
        for cell, rows in seen.cells.items():
            counts[cell] = rows
        seen = CellCounts(counts)
    elif isinstance(reference.cells, NumericCells) and not isinstance(seen, Counted):
        seen = CellCounts(reference.cells.count(numbers(seen)))
    counts = np.rint(_weights(span) @ hours).astype(np.int64)
    part = dataclasses.replace(reference, rows=int(counts.sum()), counts=counts, hours=None)
    return part, seen


def _weights(span: Span) -> FloatArray:
    """Return how much of each hour of the week a window holds; the most is one."""
    weights = np.zeros(HOURS)
    for hour in range(span.from_us // _HOUR_US, (span.to_us - 1) // _HOUR_US + 1):
        begin_us = hour * _HOUR_US
        within = min(span.to_us, begin_us + _HOUR_US) - max(span.from_us, begin_us)
        weights[hour_of_week(begin_us)] += within / _HOUR_US
    return np.asarray(weights / weights.max(), dtype=np.float64)
