"""What monitors and the control plane read from and write to the prediction log."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

import duckdb
import msgspec

from storage.browse import LogFilter, Page, Position
from storage.database import Database
from storage.expiry import remove_before
from storage.feedback import Added, add_feedback
from storage.log import (
    AttemptCounts,
    CategoryCounts,
    CountRow,
    Coverage,
    Cutoffs,
    Removed,
    TimelineRow,
    ValueCounts,
    is_behind,
)
from storage.log_reader import LogReader
from storage.monitor_records import Detector, Silence
from storage.new_rows import Among, NewRows
from storage.reader import Column, Record, Scope, Window
from storage.records import Alert, Baseline, Delivery, Feedback, Verdict
from storage.rollups.cells import note_baselines
from storage.state_rows import (
    ALERTS,
    BASELINE_HEADS,
    BASELINES,
    DELIVERIES,
    DETECTORS,
    SILENCES,
    VERDICTS,
    Noun,
    StateTable,
)
from storage.times import to_timestamp
from storage.watermarks import Watermark, load_watermarks
from storage.writer import Batch, append_batch


class Repository:
    """Reads and writes from any thread: a connection each, writes one at a time.

    Every method may raise `StorageError`. Methods block; call them from a thread, not the loop.

    Parameters
    ----------
    on_state_change : callable, optional
        Called after the commit of what nobody could tell again, such as a baseline.
    """

    def __init__(
        self, database: Database, *, on_state_change: Callable[[], object] | None = None
    ) -> None:
        self._database = database
        self._on_state_change = on_state_change or (lambda: None)
        self._writing = threading.Lock()

    def reading(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a connection for the functions of `storage.reader`."""
        return self._database.cursor()

    def writing(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a connection in a transaction that its end commits; one at a time."""
        return self._transaction()

    @contextmanager
    def snapshot(self) -> Iterator[LogReader]:
        """Lend reads that all see the log as it is now."""
        with self.reading() as connection:
            connection.begin()
            try:
                yield LogReader(connection)
            finally:
                with suppress(duckdb.Error):
                    connection.rollback()

    def append(self, batch: Batch, *, now_us: int) -> Batch:
        """Write a batch and its marks, all or nothing; see `PredictionLog.append`."""
        with self._writing, self._database.cursor() as connection:
            stored = load_watermarks(connection)
            if batch.marks and all(
                is_behind(mark, stored.get(mark.source)) for mark in batch.marks
            ):
                return Batch((), (), (), (), ())
            return append_batch(connection, batch, now_us=now_us)

    def watermarks(self) -> dict[str, Watermark]:
        """Return how far each source is in, by source."""
        with self.snapshot() as log:
            return log.watermarks()

    def coverage(self, window: Window, *, exact: bool = False) -> Coverage:
        """Return what the counts of a window are read from; `exact` reads raw rows alone."""
        with self.snapshot() as log:
            return log.coverage(window, exact=exact)

    def counts(self, scope: Scope, *, exact: bool = False) -> list[CountRow]:
        """Count requests, tokens, cost and bytes."""
        with self.snapshot() as log:
            return log.counts(scope, exact=exact)

    def values(
        self, scope: Scope, measures: Sequence[str], *, exact: bool = False
    ) -> list[ValueCounts]:
        """Count numbers by bucket."""
        with self.snapshot() as log:
            return log.values(scope, measures, exact=exact)

    def categories(
        self, scope: Scope, features: Sequence[str], *, exact: bool = False
    ) -> list[CategoryCounts]:
        """Count categories."""
        with self.snapshot() as log:
            return log.categories(scope, features, exact=exact)

    def cells(
        self, scope: Scope, baseline: str, *, segment: str = ""
    ) -> Mapping[str, Mapping[int, int]]:
        """Count primary rows over a baseline's cells: feature to cell to rows."""
        with self.snapshot() as log:
            return log.cells(scope, baseline, segment=segment)

    def attempts(self, scope: Scope, *, exact: bool = False) -> list[AttemptCounts]:
        """Count tries by route, upstream and role."""
        with self.snapshot() as log:
            return log.attempts(scope, exact=exact)

    def timeline(self, scope: Scope, step_us: int) -> list[TimelineRow]:
        """Count requests by step of time and route."""
        with self.snapshot() as log:
            return log.timeline(scope, step_us)

    def feature_columns(
        self,
        route: str,
        features: Sequence[str],
        window_from: int,
        window_to: int,
        *,
        variant: str | None = None,
    ) -> Mapping[str, Column]:
        """Return raw columns over primary rows of a route; see `reader.feature_columns`."""
        with self.snapshot() as log:
            return log.feature_columns(route, features, window_from, window_to, variant=variant)

    def rows_after(
        self,
        route: str,
        features: Sequence[str],
        after: int,
        *,
        keys: Sequence[str] = (),
        limit: int = 200_000,
    ) -> NewRows:
        """Return the primary rows of a route that batches after `after` brought."""
        with self.snapshot() as log:
            return log.rows_after(route, features, after, keys=keys, limit=limit)

    def ids_in(self, scope: Scope, feature: str, among: Among, *, limit: int = 5) -> list[str]:
        """Return the newest predictions of a scope whose feature has a value, newest first."""
        with self.snapshot() as log:
            return log.ids_in(scope, feature, among, limit=limit)

    def record(self, prediction_id: str) -> Record | None:
        """Return one prediction with its `attempt_list`, `payload` and `feedback`."""
        with self.snapshot() as log:
            return log.record(prediction_id)

    def search(self, wanted: LogFilter, *, limit: int = 100) -> Page:
        """Return the newest facts of a filter, the oldest of them first."""
        with self.snapshot() as log:
            return log.search(wanted, limit=limit)

    def following(self, wanted: LogFilter, after: Position, *, limit: int = 100) -> Page:
        """Return what came in behind a position."""
        with self.snapshot() as log:
            return log.following(wanted, after, limit=limit)

    def apply_retention(self, cutoffs: Cutoffs) -> Removed:
        """Remove what is older than the cut-offs, in one transaction."""
        with self._transaction() as connection:
            return remove_before(connection, cutoffs)

    def add_feedback(self, given: Sequence[Feedback]) -> Added:
        """Append feedback, all or none; say how much of it is about predictions in the log."""
        with self._transaction() as connection:
            return add_feedback(connection, given)

    def save_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts, all or none."""
        with self._transaction() as connection:
            VERDICTS.insert(connection, verdicts)

    def save_look(self, verdicts: Sequence[Verdict], detectors: Sequence[Detector]) -> None:
        """Append verdicts and put detectors in place of those of their streams, all or none.

        Detectors of the same routes that were written last before these go: nobody feeds them.
        """
        with self._transaction() as connection:
            VERDICTS.insert(connection, verdicts)
            DETECTORS.replace(connection, detectors)
            if detectors:
                connection.execute(
                    "DELETE FROM detectors WHERE route IN (SELECT unnest(?::VARCHAR[]))"
                    " AND updated_at < ?",
                    [
                        sorted({one.route for one in detectors}),
                        to_timestamp(min(one.updated_at for one in detectors)),
                    ],
                )

    def load_detectors(self) -> list[Detector]:
        """Return every detector, by route, segment and feature."""
        return self._select(DETECTORS, "ORDER BY route, segment, feature")

    def save_silence(self, silence: Silence) -> None:
        """Write a silence in place of the one with its id."""
        with self._transaction() as connection:
            SILENCES.replace(connection, [silence])

    def silences(self, *, ends_after: int) -> list[Silence]:
        """Return the silences that end after a time, the next to end first."""
        return self._select(
            SILENCES, "WHERE ends_at > ? ORDER BY ends_at, id", [to_timestamp(ends_after)]
        )

    def latest_verdicts(
        self, route: str | None = None, monitor: str | None = None
    ) -> list[Verdict]:
        """Return the newest verdict of each (route, monitor, segment, feature); None is any."""
        return self._select(
            VERDICTS,  # The details are large: only the rows that are wanted are read whole.
            'SEMI JOIN (SELECT route, monitor, segment, feature, max("at") AS "at"'
            " FROM verdicts WHERE ($1 IS NULL OR route = $1) AND ($2 IS NULL OR monitor = $2)"
            " GROUP BY route, monitor, segment, feature) newest"
            ' USING (route, monitor, segment, feature, "at") QUALIFY row_number() OVER ('
            'PARTITION BY route, monitor, segment, feature ORDER BY "at" DESC, id DESC) = 1'
            " ORDER BY route, monitor, segment, feature",
            [route, monitor],
        )

    def verdicts_between(
        self, window_from: int, window_to: int, *, route: str | None = None
    ) -> list[Verdict]:
        """Return the verdicts given in a window, oldest first."""
        return self._select(
            VERDICTS,
            'WHERE "at" >= $1 AND "at" < $2 AND ($3 IS NULL OR route = $3)'
            ' ORDER BY "at", route, feature',
            [to_timestamp(window_from), to_timestamp(window_to), route],
        )

    def save_baseline(self, baseline: Baseline) -> None:
        """Append a baseline; its (route, name, version) is a new one."""
        with self._transaction() as connection:
            BASELINES.insert(connection, [baseline])
            note_baselines(connection)
        self._on_state_change()

    def add_baseline(self, baseline: Baseline) -> Baseline:
        """Append a baseline under the next version of its route and name; return it with that."""
        with self._transaction() as connection:
            ((version,),) = connection.execute(
                "SELECT coalesce(max(version), 0) + 1 FROM baselines WHERE route = ? AND name = ?",
                [baseline.route, baseline.name],
            ).fetchall()
            numbered = msgspec.structs.replace(baseline, version=version)
            BASELINES.insert(connection, [numbered])
            note_baselines(connection)
        self._on_state_change()
        return numbered

    def load_baselines(self, route: str | None = None) -> list[Baseline]:
        """Return every version of every baseline, oldest first; None is every route."""
        return self._select(
            BASELINES,
            "WHERE $1 IS NULL OR route = $1 ORDER BY created_at, route, name, version",
            [route],
        )

    def baseline_heads(self, route: str | None = None) -> list[Baseline]:
        """Return what `load_baselines` does, with empty `cells`, which are most of the bytes."""
        return self._select(
            BASELINE_HEADS,
            "WHERE $1 IS NULL OR route = $1 ORDER BY created_at, route, name, version",
            [route],
        )

    def load_baseline(self, route: str, name: str, version: int) -> Baseline | None:
        """Return one version of a baseline, or None."""
        found = self._select(
            BASELINES,
            "WHERE route = ? AND name = ? AND version = ?",
            [route, name, version],
        )
        return found[0] if found else None

    def drop_baseline(self, route: str, name: str, *, before_version: int | None = None) -> int:
        """Remove all versions of a baseline, or the older ones; return how many there were."""
        with self._transaction() as connection:
            row = connection.execute(
                "DELETE FROM baselines WHERE route = $1 AND name = $2"
                " AND ($3 IS NULL OR version < $3)",
                [route, name, before_version],
            ).fetchone()
            note_baselines(connection)
        self._on_state_change()
        return int(row[0]) if row else 0

    def save_alerts(self, alerts: Sequence[Alert], deliveries: Sequence[Delivery] = ()) -> None:
        """Write alerts and their notifications in one transaction, in place of the same ids."""
        with self._transaction() as connection:
            ALERTS.replace(connection, alerts)
            DELIVERIES.replace(connection, deliveries)

    def open_alerts(self) -> list[Alert]:
        """Return the alerts that are not resolved, oldest first."""
        return self._select(ALERTS, "WHERE state = 'open' ORDER BY opened_at, id")

    def alerts_between(
        self, window_from: int, window_to: int, *, limit: int | None = None
    ) -> list[Alert]:
        """Return the alerts that were open at some time of a window, newest first."""
        return self._select(
            ALERTS,
            "WHERE opened_at < ? AND coalesce(resolved_at, opened_at + INTERVAL 100 YEAR) >= ?"
            " ORDER BY opened_at DESC, id LIMIT ?",
            [to_timestamp(window_to), to_timestamp(window_from), limit],
        )

    def load_alert(self, alert_id: str) -> Alert | None:
        """Return an alert, or None."""
        found = self._select(ALERTS, "WHERE id = ?", [alert_id])
        return found[0] if found else None

    def save_delivery(self, delivery: Delivery) -> None:
        """Write a notification in place of the one with its id."""
        with self._transaction() as connection:
            DELIVERIES.replace(connection, [delivery])

    def load_delivery(self, delivery_id: str) -> Delivery | None:
        """Return a notification, or None."""
        found = self._select(DELIVERIES, "WHERE id = ?", [delivery_id])
        return found[0] if found else None

    def pending_deliveries(
        self, *, due_at: int | None = None, limit: int | None = None
    ) -> list[Delivery]:
        """Return notifications that wait, oldest first; with `due_at`, those due by then."""
        due = None if due_at is None else to_timestamp(due_at)
        return self._select(
            DELIVERIES,
            "WHERE state = 'pending' AND ($1 IS NULL OR next_at <= $1)"
            " ORDER BY created_at, id LIMIT $2",
            [due, limit],
        )

    def deliveries_of(self, alert_id: str) -> list[Delivery]:
        """Return the notifications of an alert, oldest first."""
        return self._select(DELIVERIES, "WHERE alert_id = ? ORDER BY created_at, id", [alert_id])

    def dead_deliveries(self, *, limit: int = 100) -> list[Delivery]:
        """Return the newest notifications that were given up."""
        return self._select(
            DELIVERIES, "WHERE state = 'dead' ORDER BY created_at DESC, id LIMIT ?", [limit]
        )

    def _select(
        self, table: StateTable[Noun], tail: str, values: Sequence[object] = ()
    ) -> list[Noun]:
        with self.reading() as connection:
            return table.select(connection, tail, values)

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._writing, self._database.cursor() as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                # Also a cancelled thread must not leave a transaction open.
                with suppress(duckdb.Error):
                    connection.rollback()
                raise
            connection.commit()
