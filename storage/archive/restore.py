"""A database made anew from the archive: after its file was lost, damaged or put back in time.

Everything happens in one transaction: killed in the middle, the restore starts over. What the
archive does not have yet, the ingester then reads from the segments, which are kept until it has.
"""

import logging
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from storage.archive.catalog import (
    FACTS_CATALOG,
    STATE_CATALOG,
    ArchiveFile,
    Catalog,
    is_sound,
    load_catalog,
    read_files,
    set_facts_aside,
    take_whole,
)
from storage.archive.state import ADOPTED, has_counter
from storage.archive.tables import Table, list_tables
from storage.archive.tombstones import GONE, collect_gone
from storage.database import ARCHIVE_FOLDER, Database
from storage.errors import DatabaseCorrupt, DatabaseFailed
from storage.features.registry import make_views
from storage.rollups.cells import note_baselines
from storage.rollups.rebuild import recount
from storage.rollups.state import load_state
from storage.times import DAY_US, from_timestamp, to_timestamp
from storage.watermarks import save_watermark

log = logging.getLogger(__name__)

ADOPTED_FACTS = "facts_adopted"
"""Counter of `log_state`: the file holds what the archive's facts knew, and may be exported."""
DAMAGED_ARCHIVE = "archive"
"""Kind of the rows of `spool_losses` that say which file of the archive could not be read."""
_CREATES = re.compile(r"^CREATE TABLE ", re.IGNORECASE)


class Restored(NamedTuple):
    """What a restore did.

    Attributes
    ----------
    predictions : int
        Rows of `predictions` that came from the archive.
    batch : int
        The transaction that the archive was written after.
    forgotten : int
        Predictions that tombstones kept out.
    damaged : tuple of str
        Files that were skipped: not as they were written.
    recounted : tuple of str
        Days whose roll-ups were counted anew from facts, because their file was damaged.
    """

    predictions: int
    batch: int
    forgotten: int
    damaged: tuple[str, ...]
    recounted: tuple[str, ...]


def restore_if_needed(database: Database, *, now_us: Callable[[], int]) -> Restored | None:
    """Bring a database that holds less than its archive to what the archive holds.

    Call it before watermarks are read: at the start, and after the file was replaced. It costs
    two small reads where nothing is to be done. A file that a reader found damaged is read
    whole, and set aside if it is.

    Returns
    -------
    Restored or None
        None when the database knew everything.

    Raises
    ------
    StorageError
        Nothing was restored; call again.
    """
    if database.damage is not None:
        _confirm_damage(database)
    folder = database.data_dir / ARCHIVE_FOLDER
    catalog = load_catalog(folder / FACTS_CATALOG)
    restore_state(database)
    if catalog is None:
        return None
    with database.cursor() as cursor:
        batch, adopted = current_batch(cursor), has_counter(cursor, ADOPTED_FACTS)
        is_fresh = batch == 0 and _is_empty(cursor, "predictions")
    if adopted and batch >= catalog.batch:
        return None
    if not is_fresh and batch >= catalog.batch:
        aside = set_facts_aside(folder, now_us())
        log.error("the archive is of another database; it was set aside as %s", aside)
        return None
    if not is_fresh:
        aside = database.rebuild()
        log.error("the database was older than its archive; it was set aside as %s", aside)
        restore_state(database)
    catalog = _take_whole(folder)
    log.warning("restoring the database from %s, written at %s", folder, _iso(catalog.written_at))
    with database.cursor() as cursor:
        cursor.begin()
        try:
            restored = _Restore(cursor, database, catalog, now_us()).run()
            cursor.commit()
        except BaseException:
            cursor.rollback()
            raise
    database.checkpoint()
    log.warning("restored %d predictions; the spool has the rest", restored.predictions)
    return restored


def restore_state(database: Database) -> int:
    """Bring baselines, verdicts, alerts and deliveries to a database that never had them.

    Call it before anything reads them: it takes milliseconds, and facts may follow later.

    Returns
    -------
    int
        Rows restored.
    """
    with database.cursor() as cursor:
        return fill_state(cursor, database.data_dir)


def fill_state(cursor: duckdb.DuckDBPyConnection, data_dir: Path) -> int:
    """Do what `restore_state` does, over a connection to a file that nobody else has yet."""
    folder = data_dir / ARCHIVE_FOLDER
    catalog = load_catalog(folder / STATE_CATALOG)
    if catalog is None or has_counter(cursor, ADOPTED):
        return 0
    rows = 0
    cursor.begin()
    try:
        tables = {t.name for t in list_tables(cursor) if t.kind == "state"}
        for table in sorted(tables):
            files = [f for f in catalog.of(table) if is_sound(folder, f)]
            for lost in set(catalog.of(table)) - set(files):
                log.error("%s of the archive is damaged; its rows are lost", lost.name)
            if files and _is_empty(cursor, table):
                # One by one: what files of an older schema do not have is the column's default.
                rows += sum(_insert(cursor, table, read_files(folder, [one])) for one in files)
        note_baselines(cursor)
        cursor.execute("INSERT INTO log_state VALUES (?, 1)", [ADOPTED])
        cursor.commit()
    except BaseException:
        cursor.rollback()
        raise
    return rows


# State is saved at once and counts are exported later: a baseline may be new to them.
_OTHER_BASELINES = """
SELECT route, name || '@' || version FROM baselines
QUALIFY row_number() OVER (PARTITION BY route ORDER BY created_at DESC, version DESC) = 1
EXCEPT SELECT route, baseline FROM cell_edges
"""
_BY_NAME = "union_by_name = true"


class _Restore:
    """One restore, inside the caller's transaction."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        database: Database,
        catalog: Catalog,
        now_us: int,
    ) -> None:
        self._cursor = cursor
        self._folder = database.data_dir / ARCHIVE_FOLDER
        self._catalog = catalog
        self._now_us = now_us
        self._damaged: list[ArchiveFile] = []

    def run(self) -> Restored:
        for statement in self._catalog.tables.values():
            # Tables of model inputs are made as models come; the schema does not have them.
            self._cursor.execute(_CREATES.sub("CREATE TABLE IF NOT EXISTS ", statement))
        self._restore_progress()
        tables = list_tables(self._cursor)
        for table in tables:
            if table.kind == "snapshot":
                self._restore_snapshot(table)
        make_views(self._cursor)
        if self._cursor.execute(_OTHER_BASELINES).fetchall():
            note_baselines(self._cursor)
        facts = [table for table in tables if table.kind == "facts"]
        predictions = sum(
            self._restore_facts(table) for table in facts if table.name == "predictions"
        )
        for table in facts:
            if table.name != "predictions":
                self._restore_facts(table)
        forgotten = self._forget(facts)
        recounted = self._restore_counts([table for table in tables if table.kind == "rollup"])
        self._report()
        return Restored(
            predictions=predictions - forgotten,
            batch=self._catalog.batch,
            forgotten=forgotten,
            damaged=tuple(file.name for file in self._damaged),
            recounted=tuple(recounted),
        )

    def _restore_snapshot(self, table: Table) -> None:
        self._cursor.execute(f'DELETE FROM "{table.name}"')  # noqa: S608 (our names)
        files = self._sound(self._catalog.of(table.name))
        if files:
            _insert(self._cursor, table.name, read_files(self._folder, files))

    def _restore_progress(self) -> None:
        for mark in self._catalog.marks.values():
            save_watermark(self._cursor, mark)
        self._cursor.execute("DELETE FROM log_state WHERE name <> ?", [ADOPTED])
        counters = {**self._catalog.counters, ADOPTED_FACTS: 1}
        counters.pop(ADOPTED, None)
        for counter in counters.items():
            self._cursor.execute("INSERT INTO log_state VALUES (?, ?)", list(counter))

    def _restore_facts(self, table: Table) -> int:
        files = self._sound(self._catalog.of(table.name))
        first = to_timestamp(max(self._catalog.facts_from, _facts_from(self._cursor)))
        rows = 0
        for number, file in enumerate(files, 1):
            source = read_files(self._folder, [file])
            if file.day <= first.date().isoformat():
                source += f" WHERE \"{table.time_column}\" >= TIMESTAMP '{first}'"
            rows += _insert(self._cursor, table.name, source)
            log.info("restored file %d of %d of %s", number, len(files), table.name)
        return rows

    def _forget(self, facts: Sequence[Table]) -> int:
        row = self._cursor.execute("SELECT count(*) FROM forgotten").fetchone()
        if not row or not row[0]:
            return 0
        gone = collect_gone(self._cursor, "predictions")
        for table in facts:
            self._cursor.execute(
                f'DELETE FROM "{table.name}" WHERE {table.prediction_column}'  # noqa: S608 (our names)
                f" IN (SELECT id FROM {GONE})"
            )
        return gone

    def _restore_counts(self, tables: Sequence[Table]) -> list[str]:
        lost: set[str] = set()
        for table in tables:
            files = self._sound(self._catalog.of(table.name))
            lost |= {file.day for file in set(self._catalog.of(table.name)) - set(files)}
        for table in tables:
            files = [f for f in self._sound(self._catalog.of(table.name)) if f.day not in lost]
            if files:
                _insert(self._cursor, table.name, read_files(self._folder, files, _BY_NAME))
        return self._recount(lost)

    def _recount(self, days: set[str]) -> list[str]:
        first = _facts_from(self._cursor)
        recounted = []
        for day in sorted(days):
            from_us = from_timestamp(datetime.fromisoformat(day))
            if from_us >= first:
                recount(self._cursor, load_state(self._cursor), from_us, from_us + DAY_US)
                recounted.append(day)
        return recounted

    def _sound(self, files: Sequence[ArchiveFile]) -> list[ArchiveFile]:
        sound = [file for file in files if file not in self._damaged]
        for file in list(sound):
            if not is_sound(self._folder, file):
                log.error("%s of the archive is damaged; its rows are lost", file.name)
                self._damaged.append(file)
                sound.remove(file)
        return sound

    def _report(self) -> None:
        for file in self._damaged:
            self._cursor.execute(
                "INSERT INTO spool_losses VALUES (?, ?, 0, 0, ?, ?, ?)",
                [to_timestamp(self._now_us), file.name, DAMAGED_ARCHIVE, file.rows, file.bytes],
            )


def _take_whole(folder: Path) -> Catalog:
    path = folder / FACTS_CATALOG
    try:
        catalog = take_whole(path)
    except OSError as error:
        raise DatabaseFailed(f"{path} could not be written: {error}") from error
    assert catalog is not None, "its presence has just been checked, under the archive's lock"
    return catalog


def current_batch(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the transaction that wrote the newest facts; 0: of older files."""
    return _counter(connection, "batch")


def _facts_from(connection: duckdb.DuckDBPyConnection) -> int:
    return _counter(connection, "facts_from")


def _counter(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    row = connection.execute("SELECT value FROM log_state WHERE name = ?", [name]).fetchone()
    return int(row[0]) if row else 0


def _confirm_damage(database: Database) -> None:
    try:
        database.verify()
    except DatabaseCorrupt as error:
        log.error("the database is damaged, it is set aside as %s: %s", database.rebuild(), error)  # noqa: TRY400 (the message is all there is)


def _is_empty(cursor: duckdb.DuckDBPyConnection, table: str) -> bool:
    return not cursor.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchall()  # noqa: S608 (our names)


def _insert(cursor: duckdb.DuckDBPyConnection, table: str, source: str) -> int:
    row = cursor.execute(f'INSERT INTO "{table}" BY NAME SELECT * FROM {source}').fetchone()  # noqa: S608 (our names)
    return int(row[0]) if row else 0


def _iso(at_us: int) -> str:
    return to_timestamp(at_us).isoformat(timespec="seconds")
