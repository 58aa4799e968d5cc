"""Rows of a reference period, a feature at a time: values, starts, and the segments of each row.

Segments come as bits and dependence as a hash, so that no text of a row leaves the database. Every
function takes a connection in a transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from storage.exact import where_of
from storage.features.counting import INPUT, quoted
from storage.features.reading import input_rows
from storage.features.registry import all_schemas
from storage.features.schema import NUMBER
from storage.new_rows import signal_expression
from storage.reader import Scope
from storage.rollups.statements import SEGMENT_KEYS
from storage.times import to_timestamp

TAG_PREFIX = "tag:"
"""Of a dependence key that is told by a tag: `tag:session` is `session=...` or `session:...`."""

_CLUSTERS = {"user": "user_key", "tenant": "tenant"}


class GroupKeys(NamedTuple):
    """What is read beside the values.

    Attributes
    ----------
    segments : mapping of str to sequence of str
        Values that are told apart, by key; see `segment_values`.
    dependence : str or None
        `user`, `tenant` or `tag:NAME`: rows of one value depend on each other.
    """

    segments: Mapping[str, Sequence[str]]
    dependence: str | None = None


class GroupedRows(NamedTuple):
    """Rows of one feature, in no order.

    Attributes
    ----------
    values : ndarray of shape (rows,)
        float64 with NaN for unknown; of a category int64 places among the values asked for, their
        number for any other, -1 for unknown.
    started_at : ndarray of int64, shape (rows,)
        Microseconds since the epoch.
    bits : dict of str to ndarray of int64, shape (rows,)
        By key of segments: bit i for the value i, the bit behind the last for any other.
    clusters : ndarray of int64, shape (rows,), or None
        Hashes of the dependence key; a row without one stands alone.
    """

    values: npt.NDArray[Any]
    started_at: npt.NDArray[np.int64]
    bits: dict[str, npt.NDArray[np.int64]]
    clusters: npt.NDArray[np.int64] | None


class Span(NamedTuple):
    """Primary rows of a route: how many, and the first and last start; None without any."""

    rows: int
    first_at: int | None
    last_at: int | None


def span_of(connection: duckdb.DuckDBPyConnection, scope: Scope) -> Span:
    """Count a scope's rows."""
    where, chosen = where_of(scope)
    (found,) = connection.execute(
        "SELECT count(*), epoch_us(min(started_at)), epoch_us(max(started_at))"  # noqa: S608 (names of this folder)
        f" FROM predictions WHERE {where}",
        chosen,
    ).fetchall()
    return Span(*found)


def segment_values(
    connection: duckdb.DuckDBPyConnection, scope: Scope, keys: Sequence[str], limit: int
) -> dict[str, list[str]]:
    """Return the most frequent values of each key, ties by name.

    Raises
    ------
    KeyError
        A name is no key.
    """
    where, chosen = where_of(scope)
    found = {}
    for key in keys:
        value = f"unnest({SEGMENT_KEYS[key]})" if key == "tag" else SEGMENT_KEYS[key]
        rows = connection.execute(
            f"SELECT value FROM (SELECT {value} AS value FROM predictions WHERE {where})"  # noqa: S608 (as above)
            f" WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value LIMIT {limit}",
            chosen,
        ).fetchall()
        found[key] = [str(value) for (value,) in rows]
    return found


def inputs_of(connection: duckdb.DuckDBPyConnection, scope: Scope) -> dict[str, bool]:
    """Return the inputs (`input.<name>`) that a route's models were asked with, by name.

    Returns
    -------
    dict of str to bool
        Whether it was ever a number.
    """
    found: dict[str, bool] = {}
    chosen = {
        "from": to_timestamp(scope.window.from_us),
        "to": to_timestamp(scope.window.to_us),
        "route": scope.route,
    }
    for schema in all_schemas(connection):
        asked = connection.execute(
            f'SELECT 1 FROM "{schema.table}" WHERE started_at >= $from AND started_at < $to'  # noqa: S608 (our names)
            " AND route = $route LIMIT 1",
            chosen,
        ).fetchall()
        if asked:
            for field in schema.fields:
                name = INPUT + field.name
                found[name] = found.get(name, False) or field.kind == NUMBER
    return dict(sorted(found.items()))


def number_rows(
    connection: duckdb.DuckDBPyConnection, scope: Scope, feature: str, keys: GroupKeys
) -> GroupedRows:
    """Return the rows of a number.

    Raises
    ------
    KeyError
        The name is no feature.
    """
    source, expression = _source(connection, feature, _where(scope))
    found = _grouped(connection, scope, source, f"({expression})::DOUBLE", keys)
    values = np.ma.filled(np.ma.asarray(found.values, dtype=np.float64), np.nan)
    return found._replace(values=np.asarray(values, dtype=np.float64))


def word_counts(
    connection: duckdb.DuckDBPyConnection, scope: Scope, feature: str
) -> dict[str | None, int]:
    """Count the values of a category; None is unknown."""
    source, expression = _source(connection, feature, _where(scope))
    _, chosen = where_of(scope)
    return dict(
        connection.execute(
            f"SELECT {_word(expression)} AS word, count(*) FROM {source} GROUP BY word",  # noqa: S608 (as above)
            chosen,
        ).fetchall()
    )


def word_rows(
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    feature: str,
    top: Sequence[str],
    keys: GroupKeys,
) -> GroupedRows:
    """Return the rows of a category as places in `top`."""
    source, expression = _source(connection, feature, _where(scope))
    word = _word(expression)
    listed = ", ".join(quoted(one) for one in top)
    place = (
        f"CASE WHEN {expression} IS NULL THEN -1"
        f" ELSE coalesce(nullif(list_position([{listed}]::VARCHAR[], {word}), 0) - 1, {len(top)})"
        " END::BIGINT"
    )
    return _grouped(connection, scope, source, place, keys)


def _word(expression: str) -> str:
    return f"({expression})::VARCHAR"


def _where(scope: Scope) -> str:
    return where_of(scope)[0]


def _source(connection: duckdb.DuckDBPyConnection, feature: str, where: str) -> tuple[str, str]:
    """Return a table of primary rows, and a feature as an expression over it."""
    facts = f"(SELECT * FROM predictions WHERE {where}) p"  # noqa: S608 (as above)
    if not feature.startswith(INPUT):
        return facts, signal_expression(feature)
    rows = input_rows(
        connection, [feature], "started_at >= $from AND started_at < $to AND route = $route"
    )
    return f"{facts} JOIN ({rows.query}) i ON i.prediction_id = p.id", "i.input_0"


def _grouped(
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    source: str,
    value: str,
    keys: GroupKeys,
) -> GroupedRows:
    columns = [f"{value} AS found", "epoch_us(started_at) AS started"]
    columns += [
        f"{_bits(key, values)} AS bits_{number}"
        for number, (key, values) in enumerate(keys.segments.items())
    ]
    if keys.dependence is not None:
        columns.append(f"{_cluster(keys.dependence)} AS clusters")
    _, chosen = where_of(scope)
    read = connection.execute(
        f"SELECT {', '.join(columns)} FROM {source}",  # noqa: S608 (as above)
        chosen,
    ).fetchnumpy()
    bits = {
        key: np.asarray(read[f"bits_{number}"], dtype=np.int64)
        for number, key in enumerate(keys.segments)
    }
    clusters = None
    if keys.dependence is not None:
        clusters = np.asarray(read["clusters"], dtype=np.uint64).view(np.int64)
    return GroupedRows(read["found"], np.asarray(read["started"], dtype=np.int64), bits, clusters)


def _bits(key: str, values: Sequence[str]) -> str:
    """Return the bits of a row's values as an expression."""
    other = 1 << len(values)
    if key == "tag":
        known = "+".join(
            [
                "0",
                *(
                    f"({1 << n} * list_contains(tags, {quoted(v)})::BIGINT)"
                    for n, v in enumerate(values)
                ),
            ]
        )
        listed = ", ".join(quoted(value) for value in values)
        more = f"len(list_filter(tags, lambda t: NOT list_contains([{listed}]::VARCHAR[], t))) > 0"
        return f"({known} + CASE WHEN {more} THEN {other} ELSE 0 END)::BIGINT"
    cases = "".join(f" WHEN {quoted(value)} THEN {1 << n}" for n, value in enumerate(values))
    value = SEGMENT_KEYS[key]
    if not cases:
        return "0::BIGINT"
    return f"CASE WHEN {value} IS NULL THEN 0 ELSE CASE {value}{cases} ELSE {other} END END::BIGINT"


def _cluster(dependence: str) -> str:
    """Return a hash of a row's dependence key; of the row itself where it has none."""
    if dependence.startswith(TAG_PREFIX):
        name = dependence.removeprefix(TAG_PREFIX)
        starts = " OR ".join(f"starts_with(t, {quoted(name + sign)})" for sign in "=:-")
        value = f"list_filter(tags, lambda t: {starts})[1]"
    else:
        value = _CLUSTERS[dependence]
    return f"hash(coalesce({value}, p.id::VARCHAR))"
