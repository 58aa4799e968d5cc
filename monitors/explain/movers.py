"""Which bins or categories moved most, with their shares then and now."""

import numpy as np

from monitors.explain.model import Mover
from stats.arrays import CountArray
from stats.categories import Cells
from stats.missing import rate_change
from stats.psi import psi

MOST_MOVERS = 8


def movers(
    cells: Cells, reference: CountArray, current: CountArray, *, dispersion: float = 1.0
) -> tuple[Mover, ...]:
    """Return the cells that make most of the PSI, largest part first.

    Parameters
    ----------
    reference, current : ndarray of int64, shape (cells.size,)
        Rows, at least one in either window.
    dispersion : float
        Intervals are those of so many times fewer rows.
    """
    parts = np.asarray(psi(reference, current).contributions)
    whole = float(parts.sum())
    labels = cells.labels()
    order = [place for place in np.argsort(-parts, kind="stable").tolist() if parts[place] > 0.0]
    return tuple(
        _mover(
            labels[place], (reference, current), place, (float(parts[place]) / whole, dispersion)
        )
        for place in order[:MOST_MOVERS]
    )


def grown(reference: CountArray, current: CountArray) -> list[int]:
    """Return the cell whose share grew most, as a list; empty where nothing grew."""
    change = current / current.sum() - reference / reference.sum()
    most = int(np.argmax(change))
    return [most] if change[most] > 0.0 and current[most] else []


def _mover(
    label: str, counts: tuple[CountArray, CountArray], place: int, told: tuple[float, float]
) -> Mover:
    part, dispersion = told
    hits, rows = ([int(c[place]) for c in counts], [int(c.sum()) for c in counts])
    fewer = [max(1, round(n / dispersion)) for n in rows]
    kept = [min(n, round(hit / dispersion)) for hit, n in zip(hits, fewer, strict=True)]
    # The shares are those of all rows; only how sure they are is that of fewer.
    found = rate_change(kept[0], fewer[0], kept[1], fewer[1])
    before, now = hits[0] / rows[0], hits[1] / rows[1]
    return Mover(
        cell=label,
        reference=before,
        reference_low=min(before, found.reference_interval.low),
        reference_high=max(before, found.reference_interval.high),
        current=now,
        current_low=min(now, found.current_interval.low),
        current_high=max(now, found.current_interval.high),
        change=now - before,
        change_low=min(now - before, found.interval.low),
        change_high=max(now - before, found.interval.high),
        psi_share=part,
    )
