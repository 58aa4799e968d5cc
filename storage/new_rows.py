"""Rows in the order in which they came in: what a sequential detector has not yet seen.

Batches are numbered by the transaction that wrote them, so that a row is read once however late
it is.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from storage.features.counting import INPUT
from storage.features.reading import input_rows, known_inputs
from storage.reader import Column, Scope, column_from, words_from
from storage.rollups.statements import NUMBERS, SEGMENT_KEYS, WORDS
from storage.times import to_timestamp

KEYS = SEGMENT_KEYS
"""Key of a segment to its expression over `predictions`."""

KeyColumn = list[str | None] | list[list[str]]
"""Values of a segment's key; rows of `tag` are lists."""

_PRIMARY = "batch > $after AND batch <= $last AND route = $route AND role = 'primary'"
_THEIRS = "started_at >= $first AND started_at <= $latest AND route = $route AND role = 'primary'"
"""The predictions of rows of inputs, which may have come in batches before theirs."""


class Rows(NamedTuple):
    """Columns of the same rows, in order of batch, start and id.

    Attributes
    ----------
    started_at : ndarray of int64, shape (rows,)
        Microseconds since the epoch.
    columns : dict of str to ndarray of float64, shape (rows,), or list of str or None
        By feature: numbers with NaN for unknown; categories with None, `true` and `false` for
        flags.
    keys : dict of str to list
        By key of segments: a text or None for each row; of `tag` a list of texts.
    """

    started_at: npt.NDArray[np.int64]
    columns: dict[str, Column]
    keys: dict[str, KeyColumn]


class NewRows(NamedTuple):
    """What some batches brought.

    Attributes
    ----------
    batch : int
        The newest batch that was read; the next read begins after it.
    more : bool
        There are batches behind it.
    requests : Rows
        A row for each prediction, with the features that are no inputs.
    inputs : Rows
        A row for each of the inputs' rows, with the features `input.<name>` that any model was
        asked with; empty where none was.
    """

    batch: int
    more: bool
    requests: Rows
    inputs: Rows


class Among(NamedTuple):
    """Values of a feature: a number in [low, high), a text, or unknown where all are None."""

    low: float | None = None
    high: float | None = None
    value: str | None = None


class Asked(NamedTuple):
    """Which rows are wanted: primary ones of a route behind a batch, with some columns."""

    route: str
    after: int
    features: Sequence[str]
    keys: Sequence[str] = ()


def rows_after(
    connection: duckdb.DuckDBPyConnection, asked: Asked, *, limit: int = 200_000
) -> NewRows:
    """Return the rows of the next batches; see `LogReads.rows_after`.

    Raises
    ------
    KeyError
        A name is no feature or no key.
    """
    last, more = _head(connection, asked, limit)
    chosen = {"route": asked.route, "after": asked.after, "last": last}
    signals = [name for name in asked.features if not name.startswith(INPUT)]
    expressions = [
        *(signal_expression(name) for name in signals),
        *map(KEYS.__getitem__, asked.keys),
    ]
    requests = _read(
        connection,
        f"SELECT started_at{_numbered(expressions)} FROM predictions"  # noqa: S608 (names of this folder)
        f" WHERE {_PRIMARY} ORDER BY batch, started_at, id",
        chosen,
        _Names({name: name in NUMBERS for name in signals}, asked.keys),
    )
    wanted = [name for name in asked.features if name.startswith(INPUT)]
    inputs = known_inputs(connection, wanted) if wanted else []
    if not inputs:
        return NewRows(
            last, more, requests, Rows(np.zeros(0, np.int64), {}, {key: [] for key in asked.keys})
        )
    rows = input_rows(connection, inputs, _PRIMARY, ("started_at", "batch"))
    columns = [
        *(f"i.input_{number}" for number in range(len(inputs))),
        *(f"p.key_{number}" for number in range(len(asked.keys))),
    ]
    named = "".join(f", {KEYS[key]} AS key_{number}" for number, key in enumerate(asked.keys))
    if named:
        chosen |= _span(connection, rows.query, chosen)
    join = f" JOIN (SELECT id{named} FROM predictions WHERE {_THEIRS}) p ON p.id = i.prediction_id"  # noqa: S608 (as above)
    found = _read(
        connection,
        f"SELECT i.started_at{_numbered(columns)} FROM ({rows.query}) i{join if named else ''}"  # noqa: S608 (as above)
        " ORDER BY i.batch, i.started_at, i.prediction_id, i.row_no",
        chosen,
        _Names(rows.numeric, asked.keys),
    )
    return NewRows(last, more, requests, found)


def ids_in(
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    feature: str,
    among: Among,
    *,
    limit: int = 5,
) -> list[str]:
    """Return predictions whose feature has a value; see `LogReads.ids_in`.

    Raises
    ------
    KeyError
        The name is no feature.
    """
    conditions, chosen = _of_scope(scope)
    order = "ORDER BY started_at DESC, id DESC LIMIT $limit"
    chosen["limit"] = limit
    if feature.startswith(INPUT):
        if not known_inputs(connection, [feature]):
            return []
        rows = input_rows(
            connection,
            [feature],
            conditions.replace(KEYS["model"], "model"),
            ("started_at",),
        )
        source = f"SELECT prediction_id AS id, started_at, input_0 AS found FROM ({rows.query})"  # noqa: S608 (as above)
        is_number = rows.numeric[feature]
    else:
        source = (
            f"SELECT id, started_at, {signal_expression(feature)} AS found FROM predictions"  # noqa: S608 (as above)
            f" WHERE {conditions}"
        )
        is_number = feature in NUMBERS
    within, bounds = _within(among, is_number=is_number)
    found = connection.execute(
        f"SELECT DISTINCT id, started_at FROM ({source}) WHERE {within} {order}",  # noqa: S608 (as above)
        {**chosen, **bounds},
    ).fetchall()
    return [str(id_) for id_, _ in found]


def signal_expression(feature: str) -> str:
    """Return a feature of a prediction as an expression over `predictions`.

    Raises
    ------
    KeyError
        It is none.
    """
    if feature in NUMBERS:
        return f"({NUMBERS[feature]})::DOUBLE"
    if feature in WORDS:
        return f"({WORDS[feature]})::VARCHAR"
    raise KeyError(f"`{feature}` is no feature; those are {', '.join((*NUMBERS, *WORDS))}")


class _Names(NamedTuple):
    """What the columns behind the start are: features, whether a number, then keys."""

    numeric: Mapping[str, bool]
    keys: Sequence[str]


def _head(connection: duckdb.DuckDBPyConnection, asked: Asked, limit: int) -> tuple[int, bool]:
    """Return the batch to read to, and whether any is left behind it."""
    newest = connection.execute("SELECT value FROM log_state WHERE name = 'batch'").fetchone()
    head = int(newest[0]) if newest else 0
    found = connection.execute(
        f"SELECT batch, count(*) AS n FROM predictions WHERE {_PRIMARY} GROUP BY batch",  # noqa: S608 (as above)
        {"route": asked.route, "after": asked.after, "last": head},
    ).fetchnumpy()
    # In the database a running sum takes three times as long as all the rest.
    order = np.argsort(found["batch"])
    read = np.cumsum(found["n"][order])
    fitting = max(1, int(np.searchsorted(read, limit, side="right")))
    if fitting >= len(read):
        return head, False
    return int(found["batch"][order[fitting - 1]]), True


def _span(
    connection: duckdb.DuckDBPyConnection, query: str, chosen: Mapping[str, object]
) -> dict[str, object]:
    """Return the first and the last start of rows of inputs."""
    ((first, latest),) = connection.execute(
        f"SELECT min(started_at), max(started_at) FROM ({query})",  # noqa: S608 (as above)
        dict(chosen),
    ).fetchall()
    return {"first": first, "latest": latest}


def _numbered(expressions: Sequence[str]) -> str:
    return "".join(f", {one} AS c{number}" for number, one in enumerate(expressions))


def _read(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    chosen: Mapping[str, object],
    names: _Names,
) -> Rows:
    found = connection.execute(query, dict(chosen)).fetchnumpy()
    columns: dict[str, Column] = {}
    for number, (name, is_number) in enumerate(names.numeric.items()):
        columns[name] = column_from(found[f"c{number}"], is_number=is_number)
    keys: dict[str, KeyColumn] = {}
    for number, key in enumerate(names.keys, len(names.numeric)):
        values = found[f"c{number}"]
        if key == "tag":
            keys[key] = [list(tags) for tags in values]
        else:
            keys[key] = words_from(values)
    started = np.asarray(found["started_at"]).astype("datetime64[us]").astype(np.int64)
    return Rows(started, columns, keys)


def _of_scope(scope: Scope) -> tuple[str, dict[str, object]]:
    """Return a condition that holds for predictions and, but for the model, for inputs."""
    conditions = ["started_at >= $from AND started_at < $to"]
    low, high = map(to_timestamp, scope.window)
    chosen: dict[str, object] = {"from": low, "to": high}
    for name in ("route", "model", "variant", "role"):
        value = getattr(scope, name)
        if value is not None:
            conditions.append(f"{KEYS.get(name, name)} = ${name}")
            chosen[name] = value
    return " AND ".join(conditions), chosen


def _within(among: Among, *, is_number: bool) -> tuple[str, dict[str, object]]:
    """Return a condition on the column `found`."""
    if among.value is not None:
        return "found = $value", {"value": among.value}
    if among.low is None and among.high is None:
        return ("found IS NULL OR isnan(found)" if is_number else "found IS NULL"), {}
    bounds = {"low": among.low, "high": among.high}
    given: dict[str, object] = {name: at for name, at in bounds.items() if at is not None}
    tests = [f"found {'>=' if name == 'low' else '<'} ${name}" for name in given]
    return " AND ".join((*tests, "NOT isnan(found)")), given
