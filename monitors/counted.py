"""Windows of the prediction log by feature: counts for large ones, rows where they are few."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from monitors.asked import ROWS_TO_READ
from monitors.baselines import Column, Reference
from monitors.observed import CategoricalCounts, CellCounts, NumericCounts, rows_of
from monitors.observed import Window as Seen
from monitors.signals.table import SIGNALS_BY_NAME, Signal
from stats.buckets import Sketch
from stats.categories import CategoryCells
from stats.cells import NumericCells
from storage.exact import cells_of, column_of
from storage.features.counting import INPUT
from storage.features.reading import known_inputs
from storage.log import CATEGORIES, MEASURES, OTHER, CategoryCounts, ValueCounts
from storage.log_reader import LogReader
from storage.reader import Scope, Window
from storage.rollups.statements import VALUE_CHARS

MOST_ROWS = 2_000_000
"""Rows of a feature that are read where buckets cannot decide: some 0.3 CPU s."""
MOST_EXACT_ROWS = 20_000_000
"""The same where rows were asked for: 160 MB."""

_WHOLE_UNITS = ("tokens", "characters", "calls")

Key = tuple[str, str]
"""Route and feature."""


class Features(NamedTuple):
    """The primary rows of a window, counted by route and feature, all variants together.

    Attributes
    ----------
    numbers : dict
        Sketch and missing rows.
    """

    numbers: Mapping[Key, tuple[Sketch, int]]
    categories: Mapping[Key, CategoricalCounts]

    @classmethod
    def of(cls, values: Sequence[ValueCounts], categories: Sequence[CategoryCounts]) -> "Features":
        """Add variants up; shadows are left out."""
        parts: dict[Key, list[Sketch]] = {}
        missing: dict[Key, int] = {}
        for row in values:
            if row.role == "primary":
                key = row.route, row.measure
                parts.setdefault(key, []).append(Sketch.of_counts(row.buckets, row.counts))
                missing[key] = missing.get(key, 0) + row.missing
        words: dict[Key, CategoricalCounts] = {}
        for group in categories:
            if group.role == "primary":
                key = group.route, group.feature
                words[key] = _added(words.get(key), group)
        merged = {key: (Sketch.merged(found), missing[key]) for key, found in parts.items()}
        return cls(merged, words)

    def window(self, route: str, signal: Signal, cells: Mapping[str, Mapping[int, int]]) -> Seen:
        """Return what is known of a feature; `cells` are those of the route's baseline."""
        if signal.kind == "categorical":
            return self.categories.get((route, signal.name), CategoricalCounts({}, 0))
        sketch, missing = self.numbers.get((route, signal.name), (Sketch.of(()), 0))
        return NumericCounts(sketch, missing, cells.get(signal.name), signal.unit in _WHOLE_UNITS)

    def rows(self, route: str, feature: str) -> int:
        """Return the rows of a number, missing ones included."""
        sketch, missing = self.numbers.get((route, feature), (Sketch.of(()), 0))
        return sketch.n + sketch.invalid + missing


def _added(before: CategoricalCounts | None, group: CategoryCounts) -> CategoricalCounts:
    values = dict(group.values)
    other, missing = values.pop(OTHER, 0), group.missing
    if before is not None:
        for name, rows in before.values.items():
            values[name] = values.get(name, 0) + rows
        other, missing = other + before.other, missing + before.missing
    return CategoricalCounts(values, missing, other)


class RowWindows:
    """A window with few rows: every feature is read.

    Parameters
    ----------
    inputs : sequence of Signal
        Inputs of models (`input.<name>`), whose rows are not those of requests.
    """

    def __init__(self, log: LogReader, window: Window, inputs: Sequence[Signal] = ()) -> None:
        self._log = log
        self._window = window
        self._inputs = [signal.name for signal in inputs]
        self._route: str | None = None
        self._columns: Mapping[str, Column] = {}

    def prepare(self, route: str, baseline: str, references: Mapping[str, Reference]) -> None:
        """Count nothing: rows say everything."""

    def window(self, route: str, signal: Signal) -> Seen:
        """Return a feature's rows; those of all features of a route are read at once."""
        if route != self._route:
            columns = dict(self._log.feature_columns(route, list(SIGNALS_BY_NAME), *self._window))
            self._columns = columns | self._of_inputs(route)
            self._route = route
        return self._columns.get(signal.name, ())

    def _of_inputs(self, route: str) -> dict[str, Column]:
        if not self._inputs:
            return {}
        try:
            return dict(self._log.feature_columns(route, self._inputs, *self._window))
        except KeyError:  # No model was asked with one of them, as in a database made anew.
            known = known_inputs(self._log.connection, self._inputs)
            return dict(self._log.feature_columns(route, known, *self._window))

    def rows(self, route: str, feature: str) -> Column | None:
        """Return a feature's rows, the same once more."""
        return self._columns.get(feature, ()) if route == self._route else None


class CountedWindows:
    """A window with many rows: features are counted, and read where counts cannot decide.

    Parameters
    ----------
    complete : bool
        The facts of the whole window are still there.
    exact : bool
        Count rows over the baseline's own cells where the roll-ups hold none of them.
    """

    def __init__(
        self, log: LogReader, window: Window, features: Features, *, complete: bool, exact: bool
    ) -> None:
        self._log = log
        self._window = window
        self._features = features
        self._complete = complete
        self._exact = exact
        self._cells: Mapping[str, Mapping[int, int]] = {}
        self._long: Mapping[str, CategoryCells] = {}

    def prepare(self, route: str, baseline: str, references: Mapping[str, Reference]) -> None:
        """Read the cells of a route's baseline, or count them."""
        scope = Scope(self._window, route=route)
        self._long = {
            name: reference.cells
            for name, reference in references.items()
            if isinstance(reference.cells, CategoryCells)
            and any(
                len(word) > VALUE_CHARS for word in (*reference.cells.top, *reference.cells.rest)
            )
        }
        self._cells = self._log.cells(scope, baseline)
        if not self._cells and self._exact:
            edges = {
                name: reference.cells.edges
                for name, reference in references.items()
                if isinstance(reference.cells, NumericCells)
            }
            found = cells_of(self._log.connection, scope, edges)
            self._cells = {name: counts.by_cell() for name, counts in found.items()}

    def window(self, route: str, signal: Signal) -> Seen:
        """Return a feature's counts; of words that roll-ups cut, those over cells, or the rows."""
        found = self._features.window(route, signal, self._cells)
        if signal.name not in self._long:
            return found
        counts = np.zeros(self._long[signal.name].size, dtype=np.int64)
        for cell, rows in self._cells.get(signal.name, {}).items():
            counts[cell] = rows
        if int(counts.sum()) == rows_of(found):
            return CellCounts(counts)
        column = self.rows(route, signal.name) if rows_of(found) <= MOST_ROWS else None
        return found if column is None else column

    def rows(self, route: str, feature: str) -> Column | None:
        """Return a feature's rows, in no order; None where they are too many, or gone."""
        most = MOST_EXACT_ROWS if self._exact else MOST_ROWS
        if not self._complete or self._features.rows(route, feature) > most:
            return None
        if feature.startswith(INPUT) or feature in self._long:
            return self._log.feature_columns(route, [feature], *self._window)[feature]
        return column_of(self._log.connection, Scope(self._window, route=route), feature)


def windows_of_route(
    log: LogReader, route: str, window: Window, inputs: Sequence[Signal] = ()
) -> RowWindows | CountedWindows:
    """Return how one route's window is best looked at: by rows up to `ROWS_TO_READ`."""
    scope = Scope(window, route=route)
    n = sum(row.n for row in log.counts(scope))
    complete = log.coverage(window, exact=True).window == window
    if complete and n <= ROWS_TO_READ:
        return RowWindows(log, window, inputs)
    measures = [signal.name for signal in inputs if signal.kind == "numeric"]
    words = [signal.name for signal in inputs if signal.kind == "categorical"]
    features = Features.of(
        log.values(scope, [*MEASURES, *measures]), log.categories(scope, [*CATEGORIES, *words])
    )
    return CountedWindows(log, window, features, complete=complete, exact=False)
