"""Histograms of a feature then and now, over the cells that were compared."""

import sys

from monitors.baselines import Reference
from monitors.observed import Window, observe
from monitors.report.parts import Bin

MOST_BINS = 16
"""Bins of a histogram; the smallest categories are thrown together."""


_NO_DISTANCES = sys.maxsize
"""More rows than any window has: distances along the line are left out."""


def histogram(reference: Reference, window: Window) -> tuple[Bin, ...]:
    """Return rows by cell; cells that are empty in both are left out."""
    seen = observe(reference, window, _NO_DISTANCES)
    labels = seen.cells.labels()
    bins = [
        Bin(name, before, now)
        for name, before, now in zip(labels, seen.before.tolist(), seen.now.tolist(), strict=True)
        if before or now
    ]
    if len(bins) <= MOST_BINS:
        return tuple(bins)
    kept = {b.label for b in sorted(bins, key=_size, reverse=True)[: MOST_BINS - 1]}
    rest = [b for b in bins if b.label not in kept]
    others = Bin(
        f"{len(rest)} others", sum(b.reference for b in rest), sum(b.current for b in rest)
    )
    return (*(b for b in bins if b.label in kept), others)


def _size(one: Bin) -> int:
    return one.reference + one.current
