"""Streams for the simulation of drift monitors: what does not drift, and twelve ways to drift."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stats.arrays import CountArray, FloatArray
from stats.categories import CategoryCells, Cells
from stats.cells import NumericCells
from stats.detector_cells import detector_cells, reference_counts
from stats.ecdf import Ecdf
from stats.spread import dispersion

Rows = npt.NDArray[np.float64]
"""Values, or numbers of categories; NaN is missing."""

MISSING_SHARE = 0.1
CORRELATION = 0.7
ROWS_A_USER = 10
AUTOREGRESSION = 0.5
LOOKS_AN_HOUR = 12
HOURS_A_WEEK = 168


class Stream(NamedTuple):
    """Something without drift.

    Attributes
    ----------
    draw : callable
        (generator, looks, rows a look) to rows, shape (looks, rows).
    categories : int
        How many there are; 0 for numbers.
    """

    name: str
    draw: Callable[[np.random.Generator, int, int], Rows]
    categories: int = 0


class Prepared(NamedTuple):
    """A reference as a baseline keeps it, and its detector's cells.

    Attributes
    ----------
    line : ndarray of float64
        Inner edges that values are counted by; empty for categories.
    places : ndarray of int64
        Cell of each category.
    """

    cells: Cells
    counts: CountArray
    line: FloatArray
    places: CountArray
    singles: int | None

    def place(self, rows: Rows) -> CountArray:
        """Return the cell of each row."""
        if isinstance(self.cells, NumericCells):
            found = np.searchsorted(self.line, rows, side="right").astype(np.int64)
            found[np.isnan(rows)] = self.cells.ordered + 1
            return found
        known = np.where(np.isnan(rows), 0, rows).astype(np.int64)
        return np.where(np.isnan(rows), self.cells.missing, self.places[known])

    def tally(self, looks: Rows) -> CountArray:
        """Count looks by cell, shape (looks, cells)."""
        size = self.cells.size
        offset = np.arange(looks.shape[0])[:, np.newaxis] * size
        flat = np.bincount((self.place(looks) + offset).ravel(), minlength=size * looks.shape[0])
        return flat.reshape(looks.shape[0], size).astype(np.int64)


def prepare(stream: Stream, reference: Rows, bins: int | None = None) -> Prepared:
    """Cut a reference as the monitors do: from at most 4,096 order statistics of all rows.

    Parameters
    ----------
    bins : int, optional
        Quantile cells of numbers, cut from all rows; default the detector's.
    """
    nothing = np.zeros(0, dtype=np.int64)
    if stream.categories:
        table = np.bincount(reference[~np.isnan(reference)].astype(np.int64), minlength=1)
        found: dict[object, int] = {str(i): int(rows) for i, rows in enumerate(table) if rows}
        categories = CategoryCells.from_reference(found)
        every = [categories.count({str(i): 1}).argmax() for i in range(stream.categories + 1)]
        counts = categories.count({**found, None: int(np.isnan(reference).sum())})
        singles = int(np.sum(table == 1))
        return Prepared(categories, counts, np.zeros(0), np.array(every), singles)
    sample = Ecdf.of(reference)
    own = NumericCells.from_reference(sample, bins=bins or 10)
    if bins:
        return Prepared(own, own.count(reference), np.asarray(own.edges), nothing, None)
    rows = np.sort(reference[~np.isnan(reference)])
    kept = 4_096
    thin = rows[(2 * np.arange(kept) + 1) * rows.size // (2 * kept)] if rows.size > kept else rows
    few = Ecdf.of(thin)
    fine = detector_cells(own, few)
    counts = reference_counts(fine, own, own.count(reference), few)
    return Prepared(fine, counts, np.asarray(fine.edges), nothing, None)


def spread_of(
    prepared: Prepared, rows: Rows, blocks: CountArray, hours: CountArray | None
) -> float:
    """Dispersion of a reference, as its baseline would keep it."""
    cells = prepared.cells
    ordered = cells.ordered if isinstance(cells, NumericCells) else 0
    return dispersion(prepared.place(rows), blocks, size=cells.size, ordered=ordered, within=hours)


def _categories(shares: FloatArray) -> Callable[[np.random.Generator, int, int], Rows]:
    ends = np.cumsum(shares / shares.sum())[:-1]
    return lambda generator, looks, n: np.searchsorted(ends, generator.random((looks, n))).astype(
        np.float64
    )


def _zero_inflated(generator: np.random.Generator, looks: int, n: int) -> Rows:
    return generator.lognormal(size=(looks, n)) * (generator.random((looks, n)) > 0.6)


def _missing(generator: np.random.Generator, looks: int, n: int) -> Rows:
    rows = generator.normal(size=(looks, n))
    rows[generator.random((looks, n)) < MISSING_SHARE] = np.nan
    return rows


def _users(generator: np.random.Generator, looks: int, n: int) -> Rows:
    users = -(-looks * n // ROWS_A_USER)
    shared = np.repeat(generator.normal(size=users), ROWS_A_USER)[: looks * n]
    own = generator.normal(size=looks * n)
    rows: Rows = math.sqrt(CORRELATION) * shared + math.sqrt(1.0 - CORRELATION) * own
    return rows.reshape(looks, n)


def _autoregressive(generator: np.random.Generator, looks: int, n: int) -> Rows:
    rows = generator.normal(size=looks * n)
    power = AUTOREGRESSION
    noise = rows.copy()
    # A sum of some forty powers is the recursion to twelve digits.
    for lag in range(1, 40):
        rows[lag:] += power * noise[: rows.size - lag]
        power *= AUTOREGRESSION
    return rows.reshape(looks, n)


def hour_of(looks: int) -> CountArray:
    """Hour of the week of every look."""
    return np.arange(looks, dtype=np.int64) // LOOKS_AN_HOUR % HOURS_A_WEEK


def _cycle(generator: np.random.Generator, looks: int, n: int) -> Rows:
    hour = hour_of(looks)
    level = 0.5 * np.sin(2.0 * np.pi * hour / 24.0) - 0.4 * (hour >= 120)
    return np.asarray(generator.normal(size=(looks, n)) + level[:, np.newaxis])


def _zipf(categories: int) -> FloatArray:
    return np.asarray(1.0 / np.arange(1.0, categories + 1.0))


NORMAL = Stream("normal", lambda generator, looks, n: generator.normal(size=(looks, n)))
THREE = Stream("3 categories", _categories(np.array([0.6, 0.3, 0.1])), 3)
MISSING = Stream("normal, 10 % missing", _missing)
INDEPENDENT = (
    NORMAL,
    Stream("log-normal", lambda generator, looks, n: generator.lognormal(size=(looks, n))),
    Stream(
        "Poisson(3)", lambda generator, looks, n: generator.poisson(3.0, (looks, n)).astype(float)
    ),
    Stream("60 % zeros", _zero_inflated),
    THREE,
    Stream("100 categories", _categories(_zipf(100)), 100),
    Stream("1,000 categories", _categories(_zipf(1_000)), 1_000),
    Stream("1,000 even ones", _categories(np.ones(1_000)), 1_000),
    MISSING,
)
USERS = Stream("10 rows a user, ICC 0.7", _users)
AUTOREGRESSIVE = Stream("AR(1) 0.5", _autoregressive)
CYCLE = Stream("daily and weekly cycle", _cycle)


class Shift(NamedTuple):
    """A change: what rows of a stream become."""

    name: str
    stream: Stream
    change: Callable[[np.random.Generator, Rows], Rows]


def _some(generator: np.random.Generator, rows: Rows, share: float, value: float) -> Rows:
    return np.where(generator.random(rows.shape) < share, value, rows)


def _bimodal(generator: np.random.Generator, rows: Rows) -> Rows:
    sides = np.where(generator.random(rows.shape) < 0.5, -0.8, 0.8)
    return sides + 0.6 * rows


def _more_of(generator: np.random.Generator, rows: Rows, category: int, points: float) -> Rows:
    # Every row becomes the category with this chance, so that its share grows by the points.
    share = {0: 0.6, 1: 0.3, 2: 0.1}[category]
    return _some(generator, rows, points / (1.0 - share), float(category))


SHIFTS = (
    Shift("mean +0.1 sd", NORMAL, lambda _, rows: rows + 0.1),
    Shift("mean +0.25 sd", NORMAL, lambda _, rows: rows + 0.25),
    Shift("mean +0.5 sd", NORMAL, lambda _, rows: rows + 0.5),
    Shift("mean +1 sd", NORMAL, lambda _, rows: rows + 1.0),
    Shift("scale x 1.25", NORMAL, lambda _, rows: rows * 1.25),
    Shift("scale x 1.5", NORMAL, lambda _, rows: rows * 1.5),
    Shift("2 % to a far tail", NORMAL, lambda generator, rows: _some(generator, rows, 0.02, 8.0)),
    Shift("bimodal, equal moments", NORMAL, _bimodal),
    Shift("+2 points of 10 %", THREE, lambda generator, rows: _more_of(generator, rows, 2, 0.02)),
    Shift("+2 points of 30 %", THREE, lambda generator, rows: _more_of(generator, rows, 1, 0.02)),
    Shift("new category 0.5 %", THREE, lambda generator, rows: _some(generator, rows, 0.005, 3.0)),
    Shift(
        "missing +3 points",
        MISSING,
        lambda generator, rows: _some(generator, rows, 0.03 / (1.0 - MISSING_SHARE), np.nan),
    ),
)
