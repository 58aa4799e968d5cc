"""Text of requests and responses: staged in the database, kept in Parquet day files.

A body is staged in the transaction that writes its facts and moves to
`payloads/day=YYYY-MM-DD/<n>.parquet` when `archive` runs. A day file belongs to the log once
`payload_files` names it; that row and the removal of the staged rows are one transaction, so the
view `payloads` shows a body exactly once at every moment.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import duckdb

from storage.database import PAYLOADS_FOLDER, Database
from storage.errors import DatabaseFailed
from storage.times import DAY_US, to_timestamp

_DAY_FOLDER = re.compile(r"day=\d{4}-\d\d-\d\d")
_ALL_ROWS = 1 << 62
_COLUMNS = "id, started_at, request, response, request_truncated, response_truncated, response_type"


class Retired(NamedTuple):
    """What retention removed: rows of facts, day files of text."""

    predictions: int
    files: int


class _RowIds(NamedTuple):
    """Staged rows with a row id in [first, end)."""

    first: int
    end: int


class PayloadStore:
    """The day files of a data directory; used by the writer's thread alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = database.data_dir / PAYLOADS_FOLDER

    def recover(self) -> int:
        """Put the folder in order after a crash, before ingesting; does nothing when it is.

        Half-written files go, unreadable ones are renamed to `*.damaged`. A whole day file that
        `payload_files` does not name is taken in, and its rows are unstaged: that finishes an
        interrupted move, and keeps the text of a database that was set aside.

        Returns
        -------
        int
            Files taken in.
        """
        for partial in self._folder.glob("day=*/*.tmp"):
            partial.unlink()
        with self._database.cursor() as cursor:
            known = {
                name for (name,) in cursor.execute("SELECT file FROM payload_files").fetchall()
            }
            strays = [path for path in self._files() if self._name(path) not in known]
            strays = [path for path in strays if _is_readable(cursor, path)]
            for path in strays:
                cursor.begin()
                self._take_in(cursor, path, adopted=True)
                cursor.execute(
                    "DELETE FROM payloads_recent WHERE id IN (SELECT id FROM read_parquet(?))",
                    [str(path)],
                )
                cursor.commit()
        return len(strays)

    def staged_rows(self) -> int:
        """Return the number of bodies that are not in a day file yet."""
        with self._database.cursor() as cursor:
            row = cursor.execute("SELECT count(*) FROM payloads_recent").fetchone()
        return int(row[0]) if row else 0

    def archive(self) -> list[Path]:
        """Move all staged rows to day files, one new file a day; return the files.

        A day whose text does not fit the database's memory gets several.

        Raises
        ------
        DatabaseFailed
            A file cannot be written, or a single row does not fit; call again later.
        """
        # A move whose commit was in doubt may have left its file: it must not be written twice.
        self.recover()
        with self._database.cursor() as cursor:
            days = cursor.execute(
                "SELECT DISTINCT started_at::DATE::VARCHAR FROM payloads_recent ORDER BY 1"
            ).fetchall()
            return [path for (day,) in days for path in self._archive_day(cursor, day)]

    def apply_retention(self, now_us: int, *, payload_days: int, prediction_days: int) -> Retired:
        """Remove text and facts that are older than they may be.

        Text goes by whole days: a day file is unlinked once its last row is too old. With the
        facts go verdicts, resolved alerts and notifications that have been settled; roll-ups stay.
        """
        text_before = to_timestamp(now_us - payload_days * DAY_US)
        facts_before = to_timestamp(now_us - prediction_days * DAY_US)
        with self._database.cursor() as cursor:
            cursor.begin()
            files = cursor.execute(
                "DELETE FROM payload_files WHERE last_at < ? RETURNING file", [text_before]
            ).fetchall()
            cursor.execute("DELETE FROM payloads_recent WHERE started_at < ?", [text_before])
            predictions = cursor.execute(
                "DELETE FROM predictions WHERE started_at < ?", [facts_before]
            ).fetchall()[0][0]
            for table in ("attempts",):
                cursor.execute(f"DELETE FROM {table} WHERE started_at < ?", [facts_before])  # noqa: S608 (names of this line)
            cursor.execute("DELETE FROM feedback WHERE given_at < ?", [facts_before])
            cursor.execute('DELETE FROM verdicts WHERE "at" < ?', [facts_before])
            cursor.execute("DELETE FROM alerts WHERE resolved_at < ?", [facts_before])
            cursor.execute(
                "DELETE FROM deliveries WHERE state <> 'pending' AND created_at < ?", [facts_before]
            )
            cursor.commit()
        for (name,) in files:
            path = self._folder / name
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
        return Retired(int(predictions), len(files))

    def _archive_day(self, cursor: duckdb.DuckDBPyConnection, day: str) -> list[Path]:
        # DuckDB holds a vector of 2048 bodies in one piece, however few rows a file may have.
        # Only a range of row ids keeps it from that, and what fits shows when it is tried.
        files: list[Path] = []
        most = _ALL_ROWS
        while (rows := _first_rows(cursor, day, most)) is not None:
            path = self._archive_rows(cursor, day, rows)
            if path is None:
                most = (rows.end - rows.first) // 2
            else:
                files.append(path)
        return files

    def _archive_rows(
        self, cursor: duckdb.DuckDBPyConnection, day: str, rows: "_RowIds"
    ) -> Path | None:
        """Move rows, inside the transaction that chose them; None if memory is too short."""
        folder = self._folder / f"day={day}"
        numbers = [int(path.stem) for path in folder.glob("*.parquet") if path.stem.isdigit()]
        path = folder / f"{max(numbers, default=0) + 1}.parquet"
        partial = path.with_suffix(".tmp")
        try:
            folder.mkdir(exist_ok=True)
            # One snapshot: what is deleted is what was written, whatever arrives meanwhile.
            cursor.execute(_copy_statement(day, rows, partial))
            _sync(partial)
            partial.rename(path)
            _sync(folder)
            _sync(self._folder)
            self._take_in(cursor, path, adopted=False)
            cursor.execute(f"DELETE FROM payloads_recent WHERE {_chosen(day, rows)}")  # noqa: S608 (numbers, and a day that DuckDB printed)
        except duckdb.OutOfMemoryException:
            cursor.rollback()
            path.unlink(missing_ok=True)  # Or its rows would be in another file as well.
            if rows.end - rows.first == 1:
                raise
            return None
        except OSError as error:
            cursor.rollback()
            raise DatabaseFailed(f"{path} could not be written: {error}") from error
        cursor.commit()
        return path

    def _take_in(self, cursor: duckdb.DuckDBPyConnection, path: Path, *, adopted: bool) -> None:
        cursor.execute(
            "INSERT INTO payload_files SELECT $1, $2::DATE, count(*), $3, 4 * $3, min(started_at),"
            " max(started_at), $4, 0, 'live', max(started_at), NULL FROM read_parquet($5)",
            [
                self._name(path),
                path.parent.name.removeprefix("day="),
                path.stat().st_size,
                adopted,
                str(path),
            ],
        )

    def _files(self) -> list[Path]:
        return sorted(
            path
            for path in self._folder.glob("day=*/*.parquet")
            if _DAY_FOLDER.fullmatch(path.parent.name)
        )

    @staticmethod
    def _name(path: Path) -> str:
        return f"{path.parent.name}/{path.name}"


def drop_adopted(connection: duckdb.DuckDBPyConnection, started_at: Sequence[int]) -> None:
    """Unstage rows that an adopted day file has: a rebuild reads their segments again.

    Runs inside the writer's transaction; without adopted files of that time it costs one look
    into a small table.
    """
    if not started_at:
        return
    span = [to_timestamp(min(started_at)), to_timestamp(max(started_at))]
    files = connection.execute(
        "SELECT file FROM payload_files WHERE adopted AND last_at >= ? AND first_at <= ?", span
    ).fetchall()
    if files:
        paths = [f"{PAYLOADS_FOLDER}/{name}" for (name,) in files]
        connection.execute(
            "DELETE FROM payloads_recent WHERE started_at BETWEEN ? AND ?"
            " AND id IN (SELECT id FROM read_parquet(?))",
            [*span, paths],
        )


def _first_rows(cursor: duckdb.DuckDBPyConnection, day: str, most: int) -> _RowIds | None:
    """Begin a transaction and return the first row ids of a day; none are left: end it again."""
    cursor.begin()
    found = cursor.execute(
        "SELECT min(rowid), max(rowid) + 1 FROM payloads_recent WHERE started_at::DATE = ?::DATE",
        [day],
    ).fetchone()
    if found is None or found[0] is None:
        cursor.rollback()
        return None
    first, end = found
    return _RowIds(first, min(end, first + most))


def _chosen(day: str, rows: _RowIds) -> str:
    return f"rowid >= {rows.first} AND rowid < {rows.end} AND started_at::DATE = '{day}'::DATE"


def _copy_statement(day: str, rows: _RowIds, target: Path) -> str:
    quoted = str(target).replace("'", "''")
    return (
        f"COPY (SELECT {_COLUMNS} FROM payloads_recent WHERE {_chosen(day, rows)}"  # noqa: S608 (numbers, and a day that DuckDB printed)
        f" ORDER BY started_at, id) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
    )


def _is_readable(cursor: duckdb.DuckDBPyConnection, path: Path) -> bool:
    try:
        row = cursor.execute("SELECT min(id) FROM read_parquet(?)", [str(path)]).fetchone()
    except duckdb.Error:
        row = None
    if row is None or row[0] is None:
        path.rename(path.with_suffix(".damaged"))
        return False
    return True


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
