"""The reads of the prediction log over one connection, as `storage.log` names them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import duckdb

from storage import browse, new_rows, reader
from storage.log import (
    AttemptCounts,
    CategoryCounts,
    CountRow,
    Coverage,
    TimelineRow,
    ValueCounts,
)
from storage.reader import Column, Record, Scope, Window
from storage.rollups import reads
from storage.watermarks import Watermark, load_watermarks

T = TypeVar("T")


class LogReader:
    """Reads of one moment: the connection is in a transaction while this is used.

    Counts that were read once are remembered, since they cannot change; callers leave them as
    they are.

    Attributes
    ----------
    connection : DuckDBPyConnection
        For reads that are no counts, such as exact percentiles.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._known: dict[tuple[object, ...], Any] = {}

    def beside(self, connection: duckdb.DuckDBPyConnection) -> "LogReader":
        """Return a reader for another thread, which remembers in the same place.

        Both see the same only where nobody writes: the file is open for reading alone.
        """
        other = LogReader(connection)
        other._known = self._known
        return other

    @cached_property
    def _moment(self) -> reads.Moment:
        return reads.Moment.of(self.connection)

    def watermarks(self) -> dict[str, Watermark]:
        """Return how far each source is in, by source."""
        return load_watermarks(self.connection)

    def coverage(self, window: Window, *, exact: bool = False) -> Coverage:
        """Return what the counts of a window are read from; `exact` reads raw rows alone."""
        return self._moment.cover(window, exact=exact)

    def counts(self, scope: Scope, *, exact: bool = False) -> list[CountRow]:
        """Count requests, tokens, cost and bytes."""
        return self._once(
            ("counts", scope, exact), lambda: reads.count_rows(self._moment, scope, exact=exact)
        )

    def values(
        self, scope: Scope, measures: Sequence[str], *, exact: bool = False
    ) -> list[ValueCounts]:
        """Count numbers by bucket."""
        return self._once(
            ("values", scope, tuple(measures), exact),
            lambda: reads.value_counts(self._moment, scope, measures, exact=exact),
        )

    def categories(
        self, scope: Scope, features: Sequence[str], *, exact: bool = False
    ) -> list[CategoryCounts]:
        """Count categories."""
        return self._once(
            ("categories", scope, tuple(features), exact),
            lambda: reads.category_counts(self._moment, scope, features, exact=exact),
        )

    def cells(
        self, scope: Scope, baseline: str, *, segment: str = ""
    ) -> Mapping[str, Mapping[int, int]]:
        """Count primary rows over a baseline's cells: feature to cell to rows."""
        return self._once(
            ("cells", scope, baseline, segment),
            lambda: reads.cell_counts(self._moment, scope, baseline, segment),
        )

    def counted_baselines(self, window: Window) -> list[tuple[str, str]]:
        """Return the routes, and their baselines, whose cells are counted all over a window."""
        return reads.counted_baselines(self._moment, window)

    def attempts(self, scope: Scope, *, exact: bool = False) -> list[AttemptCounts]:
        """Count tries by route, upstream and role."""
        return self._once(
            ("attempts", scope, exact),
            lambda: reads.attempt_counts(self._moment, scope, exact=exact),
        )

    def timeline(self, scope: Scope, step_us: int) -> list[TimelineRow]:
        """Count requests by step of time and route."""
        return reads.timeline(self._moment, scope, step_us)

    def feature_columns(
        self,
        route: str,
        features: Sequence[str],
        window_from: int,
        window_to: int,
        *,
        variant: str | None = None,
    ) -> Mapping[str, Column]:
        """Return raw columns over the primary rows of a route; see `reader.feature_columns`."""
        return reader.feature_columns(
            self.connection, route, features, Window(window_from, window_to), variant=variant
        )

    def rows_after(
        self,
        route: str,
        features: Sequence[str],
        after: int,
        *,
        keys: Sequence[str] = (),
        limit: int = 200_000,
    ) -> new_rows.NewRows:
        """Return the primary rows of a route that batches after `after` brought."""
        asked = new_rows.Asked(route, after, features, keys)
        return new_rows.rows_after(self.connection, asked, limit=limit)

    def ids_in(
        self, scope: Scope, feature: str, among: new_rows.Among, *, limit: int = 5
    ) -> list[str]:
        """Return the newest predictions of a scope whose feature has a value, newest first."""
        return new_rows.ids_in(self.connection, scope, feature, among, limit=limit)

    def record(self, prediction_id: str) -> Record | None:
        """Return one prediction with its `attempt_list`, `payload` and `feedback`."""
        return reader.record(self.connection, prediction_id)

    def search(self, wanted: browse.LogFilter, *, limit: int = 100) -> browse.Page:
        """Return the newest facts of a filter, the oldest of them first."""
        return browse.newest(self.connection, wanted, limit)

    def following(
        self, wanted: browse.LogFilter, after: browse.Position, *, limit: int = 100
    ) -> browse.Page:
        """Return what came in behind a position."""
        return browse.following(self.connection, wanted, after, limit)

    def _once(self, asked: tuple[object, ...], read: Callable[[], T]) -> T:
        if asked not in self._known:
            self._known[asked] = read()
        found: T = self._known[asked]
        return found
