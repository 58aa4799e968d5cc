"""References that know the hours of the week: a window is compared with its own hours."""

import dataclasses

import numpy as np

from monitors.baselines import Reference
from monitors.observed import CellCounts, NumericCounts, Window
from monitors.references.stored import hour_of_week
from monitors.windows import SECOND_US
from monitors.windows import Window as Span

_HOUR_US = 3_600 * SECOND_US


def of_window(reference: Reference, seen: Window, span: Span) -> tuple[Reference, Window]:
    """Return the part of a seasonal reference that a window is compared with, and the window.

    Hours are known by cell alone, so that a number is compared over cells; where its window was
    not counted over them, and where the window is a week or longer, the whole reference stays.
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
    first, last = span.from_us // _HOUR_US, (span.to_us - 1) // _HOUR_US
    chosen = sorted({hour_of_week(hour * _HOUR_US) for hour in range(first, last + 1)})
    counts = hours[chosen].sum(axis=0)
    part = dataclasses.replace(
        reference, rows=int(counts.sum()), counts=counts, sample=None, hours=None
    )
    return part, seen
