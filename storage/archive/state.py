"""Small tables as files, written when they change: what no segment of the spool can bring back."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import duckdb
import msgspec

from storage.archive.catalog import (
    EMPTY,
    STATE_CATALOG,
    ArchiveFile,
    Catalog,
    load_catalog,
    named_files,
    save_catalog,
    sweep,
)
from storage.archive.export import Exporter, partitions_of
from storage.archive.tables import Table, list_tables
from storage.database import ARCHIVE_FOLDER, Database
from storage.errors import DatabaseFailed
from storage.lifecycle.copies import moment_of
from storage.migrations import schema_version

ADOPTED = "state_adopted"
"""Counter of `log_state`: the file holds what the archive's state knew, and may be exported."""


class StateStep(NamedTuple):
    """What one look at the state did: files written, and whether a restore must come first."""

    files: int
    blocked: bool = False


class StateArchive:
    """Keeps files of baselines, verdicts, alerts, deliveries and the like; safe between threads."""

    def __init__(self, database: Database, *, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us
        self._folder = database.data_dir / ARCHIVE_FOLDER
        self._path = self._folder / STATE_CATALOG
        self._exporting = threading.Lock()
        self._catalog: Catalog | None = None
        self._tables: list[Table] | None = None
        self._seen: tuple[object, ...] | None = None

    def step(self) -> StateStep:
        """Write the days of tables that have changed; cheap when nothing has.

        Raises
        ------
        StorageError
            The database or the disk failed; call again.
        """
        with self._exporting:
            # Before the look: what is committed during it is looked at again.
            now = moment_of(self._database)
            if now is not None and now == self._seen:
                return StateStep(0)
            found = self._look()
            self._seen = None if found.blocked else now
        return found

    def _look(self) -> StateStep:
        with self._database.cursor() as cursor:
            before = self._load()
            # One snapshot for all: the file may have been set aside since the last look.
            cursor.begin()
            try:
                if not self._adopt(cursor, before):
                    return StateStep(0, blocked=True)
                files, new = self._export(cursor, before)
                if new or len(files) != len(before.files):
                    self._commit(cursor, before, files)
            finally:
                cursor.rollback()
        return StateStep(new)

    def files(self) -> tuple[ArchiveFile, ...]:
        """Return the files in force."""
        return (self._catalog or load_catalog(self._path) or EMPTY).files

    def _load(self) -> Catalog:
        if self._catalog is None:
            self._catalog = load_catalog(self._path) or EMPTY
        return self._catalog

    def _adopt(self, cursor: duckdb.DuckDBPyConnection, before: Catalog) -> bool:
        if has_counter(cursor, ADOPTED):
            return True
        if before.generation:
            return False
        cursor.execute("INSERT INTO log_state VALUES (?, 1)", [ADOPTED])
        cursor.commit()
        cursor.begin()
        return True

    def _export(
        self, cursor: duckdb.DuckDBPyConnection, before: Catalog
    ) -> tuple[list[ArchiveFile], int]:
        if self._tables is None:
            self._tables = [t for t in list_tables(cursor) if t.kind == "state"]
        exporter = Exporter(cursor, self._folder, before.generation + 1)
        found = partitions_of(cursor, self._tables)
        files: list[ArchiveFile] = []
        written = 0
        for table in self._tables:
            now, new = exporter.changed(table, before.of(table.name), found[table.name])
            files += now
            written += len(new)
        exporter.finish()
        return files, written

    def _commit(
        self, cursor: duckdb.DuckDBPyConnection, before: Catalog, files: Sequence[ArchiveFile]
    ) -> None:
        after = msgspec.structs.replace(
            before,
            schema_version=schema_version(cursor),
            generation=before.generation + 1,
            written_at=self._now_us(),
            files=tuple(files),
        )
        try:
            save_catalog(self._path, after)
        except OSError as error:
            raise DatabaseFailed(f"{self._path} could not be written: {error}") from error
        self._catalog = after
        sweep(self._folder, "state", named_files(self._path))


def has_counter(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether `log_state` has a row of this name."""
    found = connection.execute("SELECT 1 FROM log_state WHERE name = ?", [name]).fetchall()
    return bool(found)
