"""Tables of the log as files: in slices of time, so that memory and open transactions stay small.

A slice is written by DuckDB into a folder of its own, handed over, and removed. Rows do not
change and slices do not overlap, so every row that was there at the start is in the export once.
"""

import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb

from storage.browse import data_dir_of
from storage.database import COPIES_FOLDER
from storage.errors import DatabaseFailed, QueryRefused
from storage.faults import translated
from storage.reader import Window
from storage.sql import BoundedReader, Lend
from storage.statements import checked_condition, nearest
from storage.times import to_timestamp

Format = Literal["parquet", "csv", "jsonl"]
TABLES = {
    "predictions": "started_at",
    "attempts": "started_at",
    "features": "started_at",
    "feedback": "given_at",
    "payloads": "started_at",
}
"""What can be exported, and the column that says when."""

SLICE_TIME_S = 120.0
_SLICE_ROWS = {"payloads": 4096}
_SLICE_ROWS_OF_NUMBERS = 131_072
_MINUTE_US = 60_000_000
_KEYS = {"attempts": "prediction_id", "feedback": "prediction_id"}
_OPTIONS = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER {header}",
    "jsonl": "FORMAT json",
}
_ISO = "'%Y-%m-%dT%H:%M:%S.%fZ'"


class ExportQuery(NamedTuple):
    """What is exported.

    Attributes
    ----------
    table : str
        One of `TABLES`.
    route : str or None
        Rows of this route alone; of `feedback` and `payloads`, by their predictions.
    where : str or None
        A user's boolean expression over the table's columns.
    columns : tuple of str
        Empty is all.
    """

    table: str
    window: Window
    form: Format
    route: str | None = None
    where: str | None = None
    columns: tuple[str, ...] = ()


class Export:
    """One export: `prepare`, then `next_slice` to the end, then `close`.

    Parameters
    ----------
    lend : callable
        `Repository.reading` or `Database.cursor`.
    folder : Path or None
        Where slices are written for a moment; None is inside the data directory.
    slice_rows : int or None
        About how many rows a slice has.
    """

    def __init__(
        self,
        lend: Lend,
        query: ExportQuery,
        *,
        folder: Path | None = None,
        slice_rows: int | None = None,
    ) -> None:
        self._query = query
        self._parent = folder
        self._reader = BoundedReader(lend, time_s=SLICE_TIME_S)
        self._rows = slice_rows or _SLICE_ROWS.get(query.table, _SLICE_ROWS_OF_NUMBERS)
        self._select = ""
        self._windows: list[Window] = []
        self._turn = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._last: Path | None = None
        self._done = 0
        self._closed = False

    def prepare(self) -> None:
        """Check what was asked for and plan the slices.

        Raises
        ------
        QueryRefused
            There is no such table or column, or the condition is none.
        StorageError
            The database cannot be read.
        """
        table = self._query.table
        if table not in TABLES:
            raise QueryRefused(f"there is no table `{table}`{nearest(table, TABLES)}")
        with self._reader.reading() as connection:
            self._select = self._statement(connection)
            self._windows = self._plan(connection)
            if self._parent is None:
                self._parent = data_dir_of(connection) / COPIES_FOLDER

    def next_slice(self) -> Path | None:
        """Write the next file, in order of time, and remove the one before; None is the end.

        There is at least one, so that an empty export has its columns.

        Raises
        ------
        QueryRefused
            A slice took too long, or the export was closed meanwhile.
        StorageError
            The database cannot be read, or a file cannot be written.
        """
        with self._turn:
            if self._last is not None:
                self._last.unlink(missing_ok=True)
                self._last = None
            if self._closed or self._done == len(self._windows):
                return None
            path = self._opened() / f"part-{self._done:06d}.{self._query.form}"
            self._write(self._windows[self._done], path, header=self._done == 0)
            self._done += 1
            self._last = path
            return path

    def close(self) -> None:
        """Stop the slice that is being written, from any thread, and remove what was left."""
        self._reader.interrupt()
        with self._turn:
            self._closed = True
            if self._folder is not None:
                self._folder.cleanup()

    def _opened(self) -> Path:
        assert self._parent is not None, "prepared first"
        if self._folder is None:
            try:
                self._parent.mkdir(parents=True, exist_ok=True)
                self._folder = tempfile.TemporaryDirectory(
                    dir=self._parent, prefix="export-", ignore_cleanup_errors=True
                )
            except OSError as error:
                raise DatabaseFailed(f"{self._parent} cannot be written: {error}") from error
        return Path(self._folder.name)

    def _write(self, window: Window, path: Path, *, header: bool) -> None:
        options = _OPTIONS[self._query.form].format(header=str(header).lower())
        time = TABLES[self._query.table]
        bounds = " AND ".join(
            f"{time} {sign} TIMESTAMP '{to_timestamp(at_us)}'"
            for sign, at_us in zip((">=", "<"), window, strict=True)
        )
        key = _KEYS.get(self._query.table, "id")
        with self._reader.reading() as connection:
            connection.execute(
                f"COPY ({self._select} AND {bounds} ORDER BY {time}, {key})"
                f" TO '{_escaped(str(path))}' ({options})"
            )

    def _statement(self, connection: duckdb.DuckDBPyConnection) -> str:
        query = self._query
        types = dict(
            connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
                " ORDER BY column_index",
                [query.table],
            ).fetchall()
        )
        for name in query.columns:
            if name not in types:
                raise QueryRefused(f"`{query.table}` has no column `{name}`{nearest(name, types)}")
        chosen = ", ".join(
            f'{_expression(name, types[name], query.form)} AS "{name}"'
            for name in query.columns or types
        )
        parts = ["true"]
        if query.route is not None:
            parts.append(_of_route(query, in_table="route" in types))
        if query.where is not None:
            parts.append(checked_condition(connection, query.table, query.where))
        return f"SELECT {chosen} FROM {query.table} WHERE {' AND '.join(parts)}"  # noqa: S608 (names of the schema, a checked condition)

    def _plan(self, connection: duckdb.DuckDBPyConnection) -> list[Window]:
        """Cut the window where about a slice's rows are full, at whole minutes."""
        table, window = self._query.table, self._query.window
        time = TABLES[table]
        minutes = connection.execute(
            f"SELECT epoch_us({time}) // {_MINUTE_US}, count(*) FROM {table}"  # noqa: S608 (names of this file)
            f" WHERE {time} >= ? AND {time} < ? GROUP BY 1 ORDER BY 1",
            [to_timestamp(at_us) for at_us in window],
        ).fetchall()
        return cut(window, minutes, self._rows)


def cut(window: Window, minutes: Sequence[tuple[int, int]], most: int) -> list[Window]:
    """Return windows that follow each other and cover a window, of about `most` rows each.

    Parameters
    ----------
    minutes : sequence of (int, int)
        Minute since the epoch and rows that started in it, ascending; a minute is never cut.
    """
    cuts = [window.from_us]
    rows = 0
    for minute, count in minutes:
        if rows and rows + count > most and minute * _MINUTE_US > cuts[-1]:
            cuts.append(minute * _MINUTE_US)
            rows = 0
        rows += count
    ends = [*cuts[1:], window.to_us]
    return [Window(start, end) for start, end in zip(cuts, ends, strict=True)]


def join_parquet(parts: Sequence[Path], target: Path) -> None:
    """Write the rows of Parquet files into one, in their order, with bounded memory.

    Raises
    ------
    StorageError, OSError
        A part cannot be read, or the target not be written.
    """
    if len(parts) == 1:
        # Most exports fit a slice, and writing its rows again takes as long as the export did.
        shutil.copyfile(parts[0], target)
        return
    listed = ", ".join(f"'{_escaped(str(part))}'" for part in parts)
    with translated(target), duckdb.connect(":memory:", config={"memory_limit": "512MB"}) as memory:
        memory.execute("SET enable_progress_bar = false")
        memory.execute(f"SET temp_directory = '{_escaped(str(target.parent))}'")
        memory.execute(
            f"COPY (SELECT * FROM read_parquet([{listed}])) TO '{_escaped(str(target))}'"  # noqa: S608 (quoted names of files)
            f" ({_OPTIONS['parquet']})"
        )


def _expression(name: str, type_: str, form: Format) -> str:
    quoted = f'"{name}"'
    if type_ == "UUID":
        return f"{quoted}::VARCHAR"
    if type_ == "TIMESTAMP":
        return f"timezone('UTC', {quoted})" if form == "parquet" else f"strftime({quoted}, {_ISO})"
    if type_.endswith("[]") and form == "csv":
        return f"to_json({quoted})::VARCHAR"
    if type_ == "DOUBLE" and form == "jsonl":
        # JSON has no word for them.
        return f"CASE WHEN isfinite({quoted}) THEN {quoted} END"
    return quoted


def _of_route(query: ExportQuery, *, in_table: bool) -> str:
    route = f"route = '{_escaped(query.route or '')}'"
    if in_table:
        return route
    key = _KEYS.get(query.table, "id")
    return f"{key} IN (SELECT id FROM predictions WHERE {route})"  # noqa: S608 (quoted)


def _escaped(text: str) -> str:
    return text.replace("'", "''")
