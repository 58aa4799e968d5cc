"""Inputs of predictive models beside the signals, as the baseline names them."""

from collections.abc import Mapping

from monitors.baselines import Column, Reference
from monitors.counted import MOST_ROWS, CountedWindows, Features, RowWindows
from monitors.observed import Window as Seen
from monitors.signals.table import Signal
from storage.features.counting import INPUT
from storage.features.reading import known_inputs
from storage.log_reader import LogReader
from storage.reader import Scope, Window

_NONE = Features({}, {})


class WithInputs:
    """Windows of signals, and of the inputs that a route's baseline has.

    Rows of inputs are counted beside those of requests: one request may ask about many.
    """

    def __init__(
        self, windows: RowWindows | CountedWindows, log: LogReader, window: Window, *, few: bool
    ) -> None:
        self._windows = windows
        self._log = log
        self._window = window
        self._few = few
        self._columns: Mapping[str, Column] = {}
        self._features = _NONE
        self._cells: Mapping[str, Mapping[int, int]] = {}

    def prepare(self, route: str, baseline: str, references: Mapping[str, Reference]) -> None:
        """Count or read the inputs of a route's baseline."""
        signals = {name: r for name, r in references.items() if not name.startswith(INPUT)}
        self._windows.prepare(route, baseline, signals)
        asked = [name for name in references if name.startswith(INPUT)]
        names = known_inputs(self._log.connection, asked) if asked else []
        self._columns, self._features, self._cells = {}, _NONE, {}
        if names and self._few:
            self._columns = self._log.feature_columns(route, names, *self._window)
        elif names:
            scope = Scope(self._window, route=route)
            numeric = [name for name in names if references[name].kind == "numeric"]
            words = [name for name in names if references[name].kind == "categorical"]
            self._features = Features.of(
                self._log.values(scope, numeric), self._log.categories(scope, words)
            )
            self._cells = self._log.cells(scope, baseline)

    def window(self, route: str, signal: Signal) -> Seen:
        """Return a feature's counts, or its rows."""
        if not signal.name.startswith(INPUT):
            return self._windows.window(route, signal)
        if self._few:
            return self._columns.get(signal.name, ())
        return self._features.window(route, signal, self._cells)

    def rows(self, route: str, feature: str) -> Column | None:
        """Return a feature's rows; None where they are too many, or gone."""
        if not feature.startswith(INPUT):
            return self._windows.rows(route, feature)
        if self._few:
            return self._columns.get(feature)
        few_enough = self._features.rows(route, feature) <= MOST_ROWS
        return self._windows.rows(route, feature) if few_enough else None
