"""Reading the log as a log: the newest predictions of a filter, and those that come after."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import duckdb

from storage.errors import QueryRefused
from storage.reader import Record, Window
from storage.statements import checked_condition
from storage.text.lookup import text_of
from storage.times import from_timestamp, to_timestamp

FAILED = "CASE WHEN reason IS NOT NULL THEN reason <> 'client_closed' ELSE status >= 400 END"
"""What `error` means in the view `features`."""

_ORDER = "started_at, id"
_FOLLOWED = "batch, started_at, id"


class LogFilter(NamedTuple):
    """Which predictions are asked for; None and empty are any.

    Attributes
    ----------
    model : str or None
        The model that answered, or was asked for where none answered.
    statuses : tuple of (int, int)
        Least and greatest HTTP status of each range.
    user_keys : tuple of str
        Hashed keys, as they are stored; one of them.
    errors : bool
        Only what went wrong: a reason other than `client_closed`, or a status from 400.
    where : str or None
        A user's boolean expression over the columns of `predictions`.
    """

    window: Window
    route: str | None = None
    model: str | None = None
    variant: str | None = None
    role: str | None = None
    statuses: tuple[tuple[int, int], ...] = ()
    reason: str | None = None
    user_keys: tuple[str, ...] = ()
    errors: bool = False
    where: str | None = None


class Position(NamedTuple):
    """A place in the order in which rows came into the database.

    Attributes
    ----------
    batch : int
        Number of the transaction that wrote the row.
    started_at : int
        Microseconds since the epoch.
    id : str
        Empty lies behind every row of the batch.
    """

    batch: int
    started_at: int = 0
    id: str = ""

    def __str__(self) -> str:
        return f"{self.batch}.{self.started_at}.{self.id}" if self.id else str(self.batch)


class Page(NamedTuple):
    """Some predictions.

    Attributes
    ----------
    rows : list of dict
        All columns of `predictions`; times are microseconds since the epoch.
    after : Position
        What comes next lies behind it.
    more : bool
        There are further rows before the end.
    """

    rows: list[Record]
    after: Position
    more: bool


def parse_position(text: str) -> Position:
    """Read a position as `str` wrote it.

    Raises
    ------
    QueryRefused
        It is none.
    """
    try:
        batch, _, rest = text.partition(".")
        if not rest:
            return Position(int(batch))
        started_at, _, id_ = rest.partition(".")
        return Position(int(batch), int(started_at), str(UUID(id_)))
    except ValueError:
        raise QueryRefused(f"`{text}` is no position in the log") from None


def newest(connection: duckdb.DuckDBPyConnection, wanted: LogFilter, limit: int) -> Page:
    """Return the newest predictions of a filter, oldest of them first.

    Raises
    ------
    QueryRefused
        The condition is no boolean expression over `predictions`.
    """
    head = _head(connection)
    condition, values = _conditions(connection, wanted)
    # Only the rows that are shown are read whole: the order needs two columns of them all.
    rows = _rows(
        connection,
        f"""
        SELECT * FROM predictions WHERE rowid IN (
            SELECT rowid FROM predictions WHERE {condition} AND batch <= {head}
            ORDER BY started_at DESC, id DESC LIMIT {limit + 1})
        ORDER BY {_ORDER}
        """,  # noqa: S608 (checked conditions and numbers)
        values,
    )
    return Page(rows[-limit:], Position(head), len(rows) > limit)


def following(
    connection: duckdb.DuckDBPyConnection, wanted: LogFilter, after: Position, limit: int
) -> Page:
    """Return the next predictions behind a position, in the order in which they came in.

    No row is left out and none comes twice, whatever is written meanwhile. A log that was built
    anew may end before the position: then its end is the position to go on from.

    Raises
    ------
    QueryRefused
        The condition is no boolean expression over `predictions`.
    """
    head = _head(connection)
    if head < after.batch:
        return Page([], Position(head), more=False)
    condition, values = _conditions(connection, wanted)
    behind = f"batch > {after.batch}"
    if after.id:
        behind = (
            f"(batch >= {after.batch} AND (batch > {after.batch} OR ({_ORDER}) > (?, ?::UUID)))"
        )
        values = [*values, to_timestamp(after.started_at), after.id]
    rows = _rows(
        connection,
        f"SELECT * FROM predictions WHERE {condition} AND {behind} AND batch <= {head}"  # noqa: S608 (checked conditions and numbers)
        f" ORDER BY {_FOLLOWED} LIMIT {limit}",
        values,
    )
    if len(rows) < limit:
        return Page(rows, Position(head), more=False)
    last = rows[-1]
    return Page(rows, Position(last["batch"], last["started_at"], last["id"]), more=True)


def with_text(connection: duckdb.DuckDBPyConnection, page: Page) -> Page:
    """Return the page with the text of each row as `payload`, None where there is none."""
    data_dir = data_dir_of(connection)
    return page._replace(
        rows=[{**row, "payload": text_of(connection, data_dir, row)} for row in page.rows]
    )


def data_dir_of(connection: duckdb.DuckDBPyConnection) -> Path:
    """Return the data directory of the database that a connection is to."""
    row = connection.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchone()
    assert row is not None, "a connection has a database"
    return Path(row[0]).parent


def _conditions(
    connection: duckdb.DuckDBPyConnection, wanted: LogFilter
) -> tuple[str, list[object]]:
    """Return a filter as SQL over `predictions`, and the values of its parameters."""
    parts = ["started_at >= ?", "started_at < ?"]
    values: list[object] = [to_timestamp(at_us) for at_us in wanted.window]
    for column in ("route", "variant", "role", "reason"):
        value = getattr(wanted, column)
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if wanted.model is not None:
        parts.append("coalesce(model_answered, model_asked) = ?")
        values.append(wanted.model)
    if wanted.statuses:
        parts.append(_any(f"status BETWEEN {low:d} AND {high:d}" for low, high in wanted.statuses))
    if wanted.user_keys:
        parts.append(_any("user_key = ?" for _ in wanted.user_keys))
        values.extend(wanted.user_keys)
    if wanted.errors:
        parts.append(f"({FAILED})")
    if wanted.where is not None:
        parts.append(checked_condition(connection, "predictions", wanted.where))
    return " AND ".join(parts), values


def _any(parts: Iterable[str]) -> str:
    return f"({' OR '.join(parts)})"


def _head(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT value FROM log_state WHERE name = 'batch'").fetchone()
    return int(row[0]) if row else 0


def _rows(
    connection: duckdb.DuckDBPyConnection, statement: str, values: Sequence[object]
) -> list[Record]:
    found = connection.execute(statement, list(values))
    names = [column[0] for column in found.description or ()]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in found.fetchall()
    ]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return from_timestamp(value)
    return str(value) if isinstance(value, UUID) else value
