"""Users' queries: bounded in time, rows and bytes, in a transaction that cannot write."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb
import msgspec

from storage.errors import QueryRefused
from storage.statements import checked_statement, said

_CHUNK_ROWS = 256
_ENCODER = msgspec.json.Encoder(enc_hook=str, decimal_format="number")
# The errors that a query has earned; the others are the database's own.
_OF_THE_QUERY = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConstraintException,
    duckdb.DataError,
    duckdb.InvalidInputException,
    duckdb.NotSupportedError,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SequenceException,
    duckdb.TransactionException,
)


class QueryLimits(NamedTuple):
    """Where a result is cut.

    Attributes
    ----------
    rows, result_bytes : int
        Rows, and bytes of their JSON form.
    """

    rows: int = 10_000
    result_bytes: int = 16_777_216


class Column(NamedTuple):
    """A column of a result: its name, and its type as DuckDB writes it."""

    name: str
    type: str


class Result(NamedTuple):
    """What a query gave.

    Attributes
    ----------
    rows : list of bytes
        Each a JSON array. Times are ISO 8601 in UTC, NaN and infinity null, BLOBs base64.
    truncated : bool
        There are more rows than the limits let through.
    """

    columns: list[Column]
    rows: list[bytes]
    truncated: bool


Lend = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


class BoundedReader:
    """Lends a connection for one read that ends in time; `interrupt` ends it from any thread.

    Parameters
    ----------
    lend : callable
        `Repository.reading` or `Database.cursor`.
    time_s : float
        The read is stopped then.
    """

    def __init__(self, lend: Lend, *, time_s: float) -> None:
        self._lend = lend
        self._time_s = time_s
        self._state = threading.Lock()
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._stopped: str | None = None

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a read-only transaction, and end it whatever happens.

        Raises
        ------
        QueryRefused
            The query's own error, or it was stopped.
        StorageError
            The database's.
        """
        with self._lend() as cursor:
            timer = threading.Timer(self._time_s, self._stop, ["query_timed_out"])
            timer.name = "query-deadline"
            with self._state:
                self._cursor = cursor
            timer.start()
            try:
                # Otherwise a name of this program's variables would be a table.
                cursor.execute("SET python_enable_replacements = false")
                # A program without a file of its own is taken for a person at a terminal.
                cursor.execute("SET enable_progress_bar = false")
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                self._check()
                yield cursor
                self._check()
            except duckdb.Error as error:
                self._check()
                raise _refusal(error) or error from error
            finally:
                timer.cancel()
                with self._state:
                    self._cursor = None
                with suppress(duckdb.Error):
                    cursor.rollback()
                timer.join()

    def interrupt(self) -> None:
        """End the read: whoever asked is gone."""
        self._stop("query_cancelled")

    def _stop(self, code: str) -> None:
        with self._state:
            self._stopped = self._stopped or code
            if self._cursor is not None:
                self._cursor.interrupt()

    def _check(self) -> None:
        if self._stopped == "query_timed_out":
            message = f"the query was stopped after {self._time_s:g} s; ask for less"
            raise QueryRefused(message, self._stopped)
        if self._stopped is not None:
            raise QueryRefused("the query was cancelled", self._stopped)


def run_query(reader: BoundedReader, text: str, limits: QueryLimits) -> Result:
    """Run a user's statement.

    Raises
    ------
    QueryRefused
        It is not taken, fails by its own fault, or was stopped.
    StorageError
        The database cannot be read.
    """
    with reader.reading() as connection:
        statement = checked_statement(connection, text)
        found = _execute(connection, statement, limits.rows)
        columns = [Column(name, str(type_)) for name, type_, *_ in found.description or ()]
        utc = [column.type.startswith("TIMESTAMP") for column in columns]
        rows: list[bytes] = []
        left_bytes = limits.result_bytes
        while chunk := found.fetchmany(_CHUNK_ROWS):
            for row in chunk:
                encoded = _encoded(row, utc)
                left_bytes -= len(encoded)
                if left_bytes < 0 or len(rows) == limits.rows:
                    return Result(columns, rows, truncated=True)
                rows.append(encoded)
        return Result(columns, rows, truncated=False)


def _execute(
    connection: duckdb.DuckDBPyConnection, statement: str, rows: int
) -> duckdb.DuckDBPyConnection:
    if statement[:7].upper() == "EXPLAIN":
        return connection.execute(statement)
    # The line break ends a comment that would swallow the parenthesis.
    inner = f"(\n{statement}\n) AS asked"
    shape = connection.execute(f"SELECT * FROM {inner} LIMIT 0")  # noqa: S608 (checked by the caller)
    columns = [(name, str(type_)) for name, type_, *_ in shape.description or ()]
    shape.fetchall()
    aliases = ", ".join(f"c{number}" for number in range(len(columns)))
    chosen = ", ".join(
        f"{_expression(number, type_)} AS {_quoted(name)}"
        for number, (name, type_) in enumerate(columns)
    )
    return connection.execute(
        f"SELECT {chosen} FROM {inner}({aliases}) LIMIT {rows + 1}"  # noqa: S608 (checked by the caller)
    )


def _expression(number: int, type_: str) -> str:
    # The client library reads no zoned time without a further package.
    return f"timezone('UTC', c{number})" if type_ == "TIMESTAMP WITH TIME ZONE" else f"c{number}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _encoded(row: tuple[Any, ...], utc: list[bool]) -> bytes:
    values = [
        value.replace(tzinfo=UTC) if zoned and isinstance(value, datetime) else value
        for value, zoned in zip(row, utc, strict=True)
    ]
    return _ENCODER.encode(values)


def _refusal(error: duckdb.Error) -> QueryRefused | None:
    if isinstance(error, duckdb.OutOfMemoryException):
        message = f"the query needs more memory than it may have: {said(error)}; ask for less"
        return QueryRefused(message, "query_out_of_memory")
    return QueryRefused(said(error)) if isinstance(error, _OF_THE_QUERY) else None
