"""Facts and roll-ups as Parquet files: with them and the spool, the database can be made anew."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import msgspec

from storage.archive.catalog import (
    EMPTY,
    FACTS_CATALOG,
    FACTS_KINDS,
    ArchiveFile,
    Catalog,
    is_sound,
    is_unreadable,
    load_catalog,
    named_files,
    read_files,
    remove_asides,
    safe_marks,
    save_catalog,
    set_facts_aside,
    sweep,
)
from storage.archive.export import Exporter, partitions_of
from storage.archive.restore import ADOPTED_FACTS, Restored, current_batch, restore_if_needed
from storage.archive.results import ArchiveStatistics, ArchiveStep, Dropped
from storage.archive.state import StateArchive, has_counter
from storage.archive.tables import Table, list_tables
from storage.archive.tombstones import GONE, add_gone, collect_gone
from storage.database import ARCHIVE_FOLDER, Database
from storage.errors import DatabaseFailed, StorageError
from storage.migrations import schema_version
from storage.times import HOUR_US, to_timestamp
from storage.watermarks import load_watermarks

log = logging.getLogger(__name__)

INTERVAL_S = 600.0
_MANY_FILES = 8
_MOST_MERGES = 8
_TRIES = 10
_WHOLE_SHARE = 0.9


class FactArchive:
    """The archive of a data directory; its methods may be called from any thread.

    Attributes
    ----------
    state : StateArchive
        The small tables, which `step` looks after, too.
    """

    def __init__(
        self,
        database: Database,
        *,
        now_us: Callable[[], int],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._database = database
        self._now_us = now_us
        self._interval_us = int(interval_s * 1e6)
        self._folder = database.data_dir / ARCHIVE_FOLDER
        self._path = self._folder / FACTS_CATALOG
        self._exporting = threading.Lock()
        self._tried_at = 0
        self._checked = ""
        self._damaged: frozenset[str] = frozenset()
        self._catalog = self._open()
        self._safe_marks = safe_marks(self._path)
        self.state = StateArchive(database, now_us=now_us)

    def step(self) -> ArchiveStep:
        """Look after small tables, and after the facts when it is time; call it every second.

        Raises
        ------
        StorageError
            The database or the disk failed; what was archived is as it was, call again.
        """
        self.state.step()
        now_us = self._now_us()
        if abs(now_us - self._catalog.written_at) < self._interval_us:
            return ArchiveStep()
        if abs(now_us - self._tried_at) < self._interval_us // _TRIES:
            return ArchiveStep()  # It failed: a full disk is not full for a second.
        if self._exporting.locked():
            return ArchiveStep(blocked=True)  # Restoring takes long, and the next call is near.
        return self.archive_now()

    def save_state(self) -> None:
        """Bring small tables to the disk now: what nobody could tell again, such as a baseline."""
        self.state.step()

    def archive_now(self) -> ArchiveStep:
        """Bring every committed fact to the archive, with the roll-ups of the same moment."""
        with self._exporting:
            before = self._catalog
            self._tried_at = self._now_us()
            with self._snapshot() as cursor:
                # First: it may begin another transaction, and the number must be of its moment.
                adopted = self._is_adopted(cursor)
                batch = current_batch(cursor)
                if batch < before.batch or not adopted:
                    return ArchiveStep(blocked=True)
                exporter = Exporter(cursor, self._folder, before.generation + 1)
                tables = list_tables(cursor)
                self._damaged = self._check_next(before)
                facts = self._export_facts(exporter, tables, batch)
                files = [*facts, *self._export_counts(cursor, exporter, tables)]
                exporter.finish()
                after = msgspec.structs.replace(
                    before,
                    schema_version=schema_version(cursor),
                    generation=before.generation + 1,
                    batch=batch,
                    written_at=self._now_us(),
                    files=tuple(files),
                    marks=load_watermarks(cursor),
                    counters=dict(cursor.execute("SELECT name, value FROM log_state").fetchall()),
                    tables={t.name: t.statement for t in tables if t.kind == "facts"},
                )
            known = {file.name for file in before.files}
            new = [file for file in files if file.name not in known]
            self._commit(after)
        rows = _fact_rows(after.files) - _fact_rows(before.files)
        return ArchiveStep(rows=max(0, rows), files=len(new))

    def archived(self, source: str) -> tuple[int, int] | None:
        """Return how far a source of the spool is safe without the database: segment, byte.

        That is one export behind, so that a damaged catalog costs nothing: the one before it and
        the segments have everything.
        """
        mark = self._safe_marks.get(source)
        if mark is None:
            return None
        return (mark.segment + 1, 0) if mark.finished else (mark.segment, mark.byte_offset)

    def drop_before(self, facts_before_us: int, rollups_before_us: int) -> Dropped:
        """Let go of days that ended before; of the day in between, a restore leaves rows out."""
        first = {
            "facts": to_timestamp(facts_before_us).date().isoformat(),
            "rollup": to_timestamp(rollups_before_us).date().isoformat(),
        }
        with self._exporting:
            before = self._catalog
            if not before.generation:
                return Dropped(0, 0, 0)
            gone = [f for f in before.files if f.day and f.day < first.get(_kind(f), "")]
            if not gone and facts_before_us <= before.facts_from:
                return Dropped(0, 0, 0)
            names = {file.name for file in gone}
            after = msgspec.structs.replace(
                before,
                generation=before.generation + 1,
                files=tuple(file for file in before.files if file.name not in names),
                facts_from=max(before.facts_from, facts_before_us),
            )
            self._commit(after, keep_previous=False)
        return Dropped(len(gone), sum(f.rows for f in gone), sum(f.bytes for f in gone))

    def forget(self, user_keys: Collection[str], ids: Collection[str]) -> int:
        """Write the days anew that hold rows of the tombstones; the old files are gone at once.

        Roll-ups keep counting the rows: there is no person in them.

        Parameters
        ----------
        user_keys, ids : collection of str
            What was asked for. `forgotten` must have the tombstones of users, which say until
            when; the ids of further rows, such as shadows, need none.

        Returns
        -------
        int
            Rows removed, of all tables.
        """
        if not user_keys and not ids:
            return 0
        self.state.step()
        with self._exporting:
            before = self._catalog
            remove_asides(self._folder)
            if not before.generation:
                return 0
            with self._snapshot() as cursor:
                tables = [t for t in list_tables(cursor) if t.kind == "facts"]
                predictions = before.of("predictions")
                collect_gone(cursor, self._read(predictions) if predictions else "predictions")
                add_gone(cursor, ids)
                exporter = Exporter(cursor, self._folder, before.generation + 1)
                new: list[ArchiveFile] = []
                for table in tables:
                    without = f"{table.prediction_column} IN (SELECT id FROM {GONE})"  # noqa: S608 (our names)
                    new += [
                        exporter.whole_day(table, day, before.batch, without)
                        for day in self._days_with(cursor, table, without)
                    ]
                exporter.finish()
            anew = {(file.table, file.day) for file in new}
            old = [f for f in before.files if (f.table, f.day) in anew]
            kept = [f for f in before.files if (f.table, f.day) not in anew]
            after = msgspec.structs.replace(
                before,
                generation=before.generation + 1,
                files=(*kept, *(file for file in new if file.rows)),
            )
            self._commit(after, keep_previous=False)
        return sum(file.rows for file in old) - sum(file.rows for file in new)

    def days(self) -> list[tuple[str, int]]:
        """Return the bytes of facts by UTC day, oldest first."""
        sums: dict[str, int] = {}
        for file in self._catalog.files:
            if _kind(file) == "facts":
                sums[file.day] = sums.get(file.day, 0) + file.bytes
        return sorted(sums.items())

    def statistics(self) -> ArchiveStatistics:
        """Return the state of the archive."""
        catalog = self._catalog
        files = [*catalog.files, *self.state.files()]
        return ArchiveStatistics(
            files=len(files),
            bytes=sum(file.bytes for file in files),
            rows=_fact_rows(catalog.files),
            batch=catalog.batch,
            written_at=catalog.written_at,
        )

    def restore_if_needed(self) -> Restored | None:
        """Bring a database that holds less than this archive to what it holds.

        Call it before watermarks are read: at the start, and after the file was replaced; see
        `storage.archive.restore`.
        """
        with self._exporting:
            restored = restore_if_needed(self._database, now_us=self._now_us)
            self._catalog = self._open()
            self._safe_marks = safe_marks(self._path)
        return restored

    def _open(self) -> Catalog:
        if is_unreadable(self._path):
            # Its files would be swept as left-overs; somebody may still read them.
            aside = set_facts_aside(self._folder, self._now_us())
            log.error("the archive cannot be read; it was set aside as %s, a new one begins", aside)
        return load_catalog(self._path) or EMPTY

    @contextmanager
    def _snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection that sees one moment of the database."""
        with self._database.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
            except (duckdb.Error, StorageError):
                self._sweep()  # On a full disk, what was written in vain must not stay.
                raise
            finally:
                cursor.rollback()

    def _is_adopted(self, cursor: duckdb.DuckDBPyConnection) -> bool:
        """Whether the file holds what the archive knew; the first export says so of it."""
        if has_counter(cursor, ADOPTED_FACTS):
            return True
        if self._catalog.generation:
            return False
        cursor.execute("INSERT INTO log_state VALUES (?, 1)", [ADOPTED_FACTS])
        cursor.commit()
        cursor.begin()
        return True

    def _export_facts(
        self, exporter: Exporter, tables: Sequence[Table], batch: int
    ) -> list[ArchiveFile]:
        before = self._catalog
        files: list[ArchiveFile] = []
        merges = _MOST_MERGES
        for table in tables:
            if table.kind != "facts":
                continue
            of_table = before.of(table.name)
            if batch > before.batch:
                of_table += exporter.new_rows(table, before.batch, batch)
            damaged = [file.day for file in of_table if file.name in self._damaged]
            for day in dict.fromkeys([*damaged, *self._days_to_merge(of_table)[:merges]]):
                merges -= 1
                of_table = [file for file in of_table if file.day != day]
                of_table.append(exporter.whole_day(table, day, batch))
            files += of_table
        return files

    def _export_counts(
        self, cursor: duckdb.DuckDBPyConnection, exporter: Exporter, tables: Sequence[Table]
    ) -> list[ArchiveFile]:
        counts = [table for table in tables if table.kind in ("rollup", "snapshot")]
        found = partitions_of(cursor, counts)
        files: list[ArchiveFile] = []
        for table in counts:
            known = [f for f in self._catalog.of(table.name) if f.name not in self._damaged]
            files += exporter.changed(table, known, found[table.name])[0]
        return files

    def _check_next(self, catalog: Catalog) -> frozenset[str]:
        """Check a day's files, in turn, newest first; the damaged ones are written anew.

        The database has their rows now, and nobody will have when the archive is needed.
        """
        days = sorted({file.day for file in catalog.files}, reverse=True)
        self._checked = next((day for day in days if day < self._checked), max(days, default=""))
        files = [file for file in catalog.files if file.day == self._checked]
        damaged = [file.name for file in files if not is_sound(self._folder, file)]
        for name in damaged:
            log.error("%s of the archive is damaged; it is written anew", name)
        return frozenset(damaged)

    def _days_to_merge(self, files: Sequence[ArchiveFile]) -> list[str]:
        """Return past days in many files, oldest first; a few late rows are no reason yet."""
        today = to_timestamp(self._now_us() - HOUR_US).date().isoformat()
        days: dict[str, list[int]] = {}
        for file in files:
            if file.day < today:
                days.setdefault(file.day, []).append(file.rows)
        return [
            day
            for day, rows in sorted(days.items())
            if len(rows) >= _MANY_FILES or max(rows) < _WHOLE_SHARE * sum(rows)
        ]

    def _days_with(
        self, cursor: duckdb.DuckDBPyConnection, table: Table, condition: str
    ) -> list[str]:
        files = self._catalog.of(table.name)
        if not files:
            return []
        days = {file.name: file.day for file in files}
        found = cursor.execute(
            f"SELECT DISTINCT source_file FROM {self._read(files)} WHERE {condition}"  # noqa: S608 (our names)
        ).fetchall()
        here = f"{self._folder}/"
        return sorted({days[name.removeprefix(here)] for (name,) in found})

    def _read(self, files: Sequence[ArchiveFile]) -> str:
        return read_files(self._folder, files, "filename = 'source_file', union_by_name = true")

    def _commit(self, after: Catalog, *, keep_previous: bool = True) -> None:
        try:
            save_catalog(self._path, after, keep_previous=keep_previous)
        except OSError as error:
            self._sweep()
            raise DatabaseFailed(f"{self._path} could not be written: {error}") from error
        self._catalog = after
        self._safe_marks = safe_marks(self._path)
        self._sweep()

    def _sweep(self) -> None:
        named = named_files(self._path)
        for kind in FACTS_KINDS:
            sweep(self._folder, kind, named)


def _kind(file: ArchiveFile) -> str:
    return file.name.partition("/")[0]


def _fact_rows(files: Sequence[ArchiveFile]) -> int:
    return sum(file.rows for file in files if _kind(file) == "facts")
