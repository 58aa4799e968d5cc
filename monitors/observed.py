"""What a window shows of a feature beside its reference: from its rows, or from counts alone.

Counts come from roll-ups. Cells of the baseline's own edges are exact; where they were not
counted, numbers are compared over cells whose edges are borders of the roll-ups' buckets, onto
which the reference's kept order statistics are counted as well.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from monitors.baselines import Column, Reference, numbers
from stats.arrays import CountArray, FloatArray
from stats.buckets import Sketch, bucket_numbers, middles, spans
from stats.categories import CategoryCells, name_of
from stats.cell_distance import wasserstein_from_cells
from stats.cells import TAIL_ROWS, NumericCells
from stats.ecdf import Ecdf
from stats.errors import NoScale
from stats.ks import ks
from stats.results import Ks, Wasserstein
from stats.sketch_distance import ks_from_sketch, wasserstein_from_sketch
from stats.wasserstein import wasserstein

NEW_EXAMPLES = 3
LUMP = 0.08
"""Share of rows from which a bucket that stands out is taken for few values, not for a slope."""

_PLAIN = {str, bool, type(None)}
"""Types whose values can be counted before they are named: True and 1 are the same key."""


@dataclass(frozen=True, slots=True)
class Line:
    """How far numbers moved along the line.

    Attributes
    ----------
    ks : Ks
        Its bounds are apart where only buckets are known.
    wasserstein_sd : Wasserstein or None
        None if the reference has no spread.
    medians : tuple of float
        Of the reference and the window.
    """

    ks: Ks
    wasserstein_sd: Wasserstein | None
    medians: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One feature of a window and of its reference, over the same cells.

    Attributes
    ----------
    rows : int
        Of the window, missing ones included.
    before, now : ndarray of int64, shape (cells.size,)
        Rows of the reference and of the window by cell.
    line : Line or None
        Numbers only, where both windows have enough finite rows.
    moved : Wasserstein or None
        Distance in sd where cells alone are known, within bounds of what rows may give.
    new_examples : tuple of str
        Categories that the reference never had, most frequent first.
    psi_doubt : float
        What PSI over the baseline's own cells may show beyond the one over these cells.
    """

    rows: int
    cells: NumericCells | CategoryCells
    before: CountArray
    now: CountArray
    line: Line | None = None
    new_examples: tuple[str, ...] = ()
    psi_doubt: float = 0.0
    moved: Wasserstein | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NumericCounts:
    """A window's counts of a number.

    Attributes
    ----------
    sketch : Sketch
        Known rows by bucket.
    missing : int
        Rows whose number is unknown.
    cells : mapping of int to int, or None
        Rows by the baseline's own cell, if they were counted.
    whole : bool
        Numbers are whole, so that a narrow bucket holds a single one.
    """

    sketch: Sketch
    missing: int
    cells: Mapping[int, int] | None = None
    whole: bool = False

    @property
    def rows(self) -> int:
        """All rows."""
        return self.sketch.n + self.sketch.invalid + self.missing


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalCounts:
    """A window's counts of a category.

    Attributes
    ----------
    values : mapping of str to int
        Rows by value.
    missing : int
        Rows whose value is unknown.
    other : int
        Rows of values that were not told apart.
    """

    values: Mapping[str, int]
    missing: int
    other: int = 0

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.values.values()) + self.missing + self.other


@dataclass(frozen=True, slots=True, eq=False)
class CellCounts:
    """A window's counts over the baseline's own cells, and nothing else: of a segment.

    Attributes
    ----------
    counts : ndarray of int64, shape (cells.size,)
    """

    counts: CountArray

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.counts.sum())

    @property
    def missing(self) -> int:
        """Rows that do not know the feature."""
        return int(self.counts[-1])


Counted = NumericCounts | CategoricalCounts | CellCounts
Window = Column | Counted
"""A window's feature: a row each, or counted."""


def rows_of(window: Window) -> int:
    """Return a window's rows, missing ones included."""
    if isinstance(window, Counted):
        return window.rows
    return len(window)


def missing_of(window: Window) -> int:
    """Return a window's rows that do not know the feature."""
    if isinstance(window, Counted):
        return window.missing
    if isinstance(window, np.ndarray):
        return int(np.isnan(window).sum())
    return window.count(None)


def observe(reference: Reference, window: Window, least_rows: int) -> Observed:
    """Put a window beside its reference.

    Parameters
    ----------
    least_rows : int
        Finite rows that both need for a comparison along the line.
    """
    cells = reference.cells
    if isinstance(window, CellCounts):
        moved = _moved_over_cells(reference, window.counts, least_rows)
        return Observed(window.rows, cells, reference.counts, window.counts, moved=moved)
    if isinstance(window, NumericCounts):
        return _observe_counts(reference, window, least_rows)
    if isinstance(window, CategoricalCounts):
        assert isinstance(cells, CategoryCells), "categories are compared with categories"
        return _observe_categories(reference, cells, window)
    if isinstance(cells, CategoryCells):
        table = _by_name(window)
        missing = table.pop(None, 0)
        named = {name: rows for name, rows in table.items() if name is not None}
        return _observe_categories(reference, cells, CategoricalCounts(named, missing))
    rows = numbers(window)
    line = _line_of_rows(reference.sample, Ecdf.of(rows), least_rows)
    return Observed(len(rows), cells, reference.counts, cells.count(rows), line)


def _by_name(column: Column) -> Counter[str | None]:
    values = column.tolist() if isinstance(column, np.ndarray) else column
    if not set(map(type, values)) <= _PLAIN:
        return Counter(map(name_of, values))
    table: Counter[str | None] = Counter()
    for value, rows in Counter(values).items():
        table[name_of(value)] += rows
    return table


def _observe_categories(
    reference: Reference, cells: CategoryCells, window: CategoricalCounts
) -> Observed:
    now = cells.count(window.values)
    now[len(cells.top)] += window.other
    now[cells.missing] += window.missing
    examples = _new_examples(cells, window.values) if now[cells.new] else ()
    return Observed(window.rows, cells, reference.counts, now, new_examples=examples)


def _observe_counts(reference: Reference, window: NumericCounts, least_rows: int) -> Observed:
    own, sample = reference.cells, reference.sample
    assert isinstance(own, NumericCells), "numbers are compared with numbers"
    assert sample is not None, "references of numbers keep a sample"
    kept = Sketch.of(sample.support, sample.counts)
    line = _line_of_counts(sample, kept, window.sketch, least_rows)
    if window.cells is not None:
        now = np.zeros(own.size, dtype=np.int64)
        for cell, rows in window.cells.items():
            now[cell] = rows
        if int(now.sum()) == window.rows:
            return Observed(window.rows, own, reference.counts, now, line)
    cells, before = _border_cells(reference.counts, own, sample, kept)
    now = cells.count(middles(window.sketch.buckets), window.sketch.counts)
    now[-TAIL_ROWS:] = (window.sketch.invalid, window.missing)
    doubt = _doubt(own, window, kept) if window.sketch.n else 0.0
    return Observed(window.rows, cells, before, now, line, psi_doubt=doubt)


def _doubt(own: NumericCells, window: NumericCounts, kept: Sketch) -> float:
    """Return about what rows of buckets that an edge of the own cells cuts can add to PSI.

    At worst both windows lie on other sides of the edge: share times share over a cell's share.
    Rows that are spread lie on either side of an edge in both windows, so that only what a bucket
    holds beyond the emptier of its neighbours counts.
    """
    now = window.sketch
    cut = np.intersect1d(bucket_numbers(own.edges), np.union1d(kept.buckets, now.buckets))
    if window.whole:
        span = spans(cut)
        cut = cut[np.ceil(span.low) < np.floor(span.high)]
    lumps = [_lumps_on(part, cut) for part in (kept, now)]
    return float(max(2, own.ordered) * np.sum(np.square(lumps)))


def _lumps_on(sketch: Sketch, buckets: CountArray) -> FloatArray:
    """Share of a sketch's rows in each of some buckets beyond the emptier of its neighbours."""
    least = np.minimum(_shares_on(sketch, buckets - 1), _shares_on(sketch, buckets + 1))
    lumps = _shares_on(sketch, buckets) - least
    return np.where(lumps > LUMP, lumps, 0.0)


def _shares_on(sketch: Sketch, buckets: CountArray) -> FloatArray:
    """Share of a sketch's rows in each of some buckets."""
    place = np.minimum(np.searchsorted(sketch.buckets, buckets), sketch.buckets.size - 1)
    rows = np.where(sketch.buckets[place] == buckets, sketch.counts[place], 0)
    return np.asarray(rows / sketch.n, dtype=np.float64)


def _border_cells(
    counts: CountArray, own: NumericCells, sample: Ecdf, kept: Sketch
) -> tuple[NumericCells, CountArray]:
    """Move every edge to a border of the bucket it cuts, so that buckets fall whole into cells.

    It goes to the side where fewer of the reference's rows change their cell.
    """
    edges = np.asarray(own.edges, dtype=np.float64)
    cut = bucket_numbers(edges)
    low, _, high = spans(cut)
    before = _rows_below(sample, edges) - _rows_below(sample, low)
    after = _rows_below(sample, high) - _rows_below(sample, edges)
    borders = np.unique(np.where(after >= before, cut, cut + 1))
    cells = dataclasses.replace(own, edges=tuple(spans(borders).low.tolist()))
    line = cells.count(middles(kept.buckets), kept.counts)[:-TAIL_ROWS]
    tail = counts[-TAIL_ROWS:]
    return cells, np.concatenate((_scaled(line, int(counts.sum() - tail.sum())), tail))


def _rows_below(sample: Ecdf, points: FloatArray) -> CountArray:
    return sample.cumulative[np.searchsorted(sample.support, points, side="left")]


def _scaled(counts: CountArray, total: int) -> CountArray:
    """Return whole numbers in proportion to `counts` that add up to `total`."""
    exact = counts * (total / counts.sum())
    whole = np.floor(exact).astype(np.int64)
    most = np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]
    whole[most] += 1
    return np.asarray(whole, dtype=np.int64)


def _line_of_rows(before: Ecdf | None, now: Ecdf, least_rows: int) -> Line | None:
    if before is None or min(before.n, now.n) < least_rows:
        return None
    try:
        moved = wasserstein(before, now, unit="sd", winsorise=True)
    except NoScale:
        # A constant reference has no unit; PSI sees every move away from it.
        moved = None
    return Line(ks(before, now), moved, (before.quantile(0.5), now.quantile(0.5)))


def _line_of_counts(before: Ecdf, kept: Sketch, now: Sketch, least_rows: int) -> Line | None:
    if min(before.n, now.n) < least_rows:
        return None
    try:
        moved = wasserstein_from_sketch(before, now, kept)
    except NoScale:
        moved = None
    median = before.quantile(0.5)
    (middle,) = now.values_at((0.5,))
    # In the same bucket nothing is known to have moved.
    same = float(middles(bucket_numbers([median]))[0]) == middle
    return Line(ks_from_sketch(before, now, kept), moved, (median, median if same else middle))


def _moved_over_cells(reference: Reference, now: CountArray, least_rows: int) -> Wasserstein | None:
    cells, sample, before = reference.cells, reference.sample, reference.counts
    if not isinstance(cells, NumericCells) or sample is None:
        return None
    if min(int(counts[: cells.ordered].sum()) for counts in (before, now)) < least_rows:
        return None
    try:
        return wasserstein_from_cells(cells, sample, before, now)
    except NoScale:
        return None


def _new_examples(cells: CategoryCells, values: Mapping[str, int]) -> tuple[str, ...]:
    known = {*cells.top, *cells.rest, "true", "false"}
    new = sorted(_unknown(values, known), key=lambda name: (-values[name], name))
    return tuple(new[:NEW_EXAMPLES])


def _unknown(values: Mapping[str, int], known: set[str]) -> Iterable[str]:
    return (name for name in values if name not in known)
