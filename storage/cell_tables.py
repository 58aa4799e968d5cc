"""Rows by cell of a baseline and by slot of time or by segment: what an explanation is made of.

One feature of the primary rows of a route, from the facts; the cells are those of `stats.cells`
and `stats.categories`, as `storage.rollups.cell_statements` counts them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from storage.features.counting import INPUT
from storage.features.reading import input_rows, known_inputs
from storage.new_rows import signal_expression
from storage.reader import Window
from storage.rollups.cell_statements import OTHER_VALUES
from storage.rollups.state import SLOT_US
from storage.rollups.statements import NUMBERS, SEGMENT_KEYS
from storage.times import to_timestamp

Counts = npt.NDArray[np.int64]

NO_VALUE = "(none)"
"""Value of a key for rows that have none."""
SETS_JOINED = "+"
"""Between the tags of a row: rows with the same tags are one segment."""
_PRIMARY = "started_at >= $from AND started_at < $to AND route = $route AND role = 'primary'"


class CellForm(NamedTuple):
    """The cells of a baseline as plain values: `edges` of a number, or the rest of a category."""

    size: int
    edges: tuple[float, ...] | None = None
    top: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    complete: bool = True


class Segment(NamedTuple):
    """Rows whose key has a value.

    Attributes
    ----------
    told : sequence of str
        Values that the baseline tells apart: `(other)` is none of them.
    """

    key: str
    value: str
    told: Sequence[str] = ()


class Asked(NamedTuple):
    """A feature of the primary rows of a route in a window."""

    window: Window
    route: str
    feature: str
    cells: CellForm
    segment: Segment | None = None


class SlotCounts(NamedTuple):
    """Rows by 5-minute slot and cell.

    Attributes
    ----------
    starts : ndarray of int64, shape (slots,)
        Microseconds since the epoch, ascending: the window's first slot, every one with rows, and
        the one behind it, so that each gap has its begin and a window of years no empty years.
    counts : ndarray of int64, shape (slots, cells)
    """

    starts: Counts
    counts: Counts


def slot_counts(connection: duckdb.DuckDBPyConnection, asked: Asked) -> SlotCounts:
    """Count rows by slot and cell."""
    source, chosen = _source(connection, asked, ())
    rows = (
        connection.execute(
            f"SELECT epoch_us(started_at) // {SLOT_US} AS slot, cell, count(*) AS n"  # noqa: S608 (expressions of this file)
            f" FROM ({source}) GROUP BY slot, cell",
            chosen,
        ).fetchnumpy()
        if source
        else None
    )
    return _by_slot(asked, rows)


def counted_slots(connection: duckdb.DuckDBPyConnection, asked: Asked, baseline: str) -> SlotCounts:
    """Return the same from the roll-ups, of a window whose facts have expired.

    Slots that are hours by now count as their first five minutes. Empty for a baseline that is
    not the newest of its route, and for segments that were not counted.
    """
    table, segment = "rollup_cells", ""
    chosen = {**_bounds(asked), "feature": asked.feature, "baseline": baseline}
    if asked.segment is not None:
        table, segment = "rollup_segments", " AND segment = $segment"
        chosen["segment"] = f"{asked.segment.key}={asked.segment.value}"
    rows = connection.execute(
        f'SELECT epoch_us("at") // {SLOT_US} AS slot, cell, sum(n)::BIGINT AS n FROM {table}'  # noqa: S608 (as above)
        ' WHERE "at" >= $from AND "at" < $to AND route = $route AND feature = $feature'
        f" AND baseline = $baseline{segment} GROUP BY slot, cell",
        chosen,
    ).fetchnumpy()
    return _by_slot(asked, rows)


def _by_slot(asked: Asked, rows: dict[str, npt.NDArray[np.int64]] | None) -> SlotCounts:
    first, last = asked.window.from_us // SLOT_US, (asked.window.to_us - 1) // SLOT_US
    found = np.zeros(0, np.int64) if rows is None else np.asarray(rows["slot"], dtype=np.int64)
    slots = np.unique(np.concatenate(([first], found, np.minimum(found + 1, last))))
    counts = np.zeros((slots.size, asked.cells.size), dtype=np.int64)
    if rows is not None:
        np.add.at(counts, (np.searchsorted(slots, found), rows["cell"]), rows["n"])
    return SlotCounts(slots * SLOT_US, counts)


def key_counts(
    connection: duckdb.DuckDBPyConnection, asked: Asked, keys: Sequence[str]
) -> dict[str, dict[str, Counts]]:
    """Count rows by value of each key and cell.

    Returns
    -------
    dict of str to dict of str to ndarray of int64, shape (cells,)
        Key to value to counts. Values of a key share out all rows: a row without one has
        `NO_VALUE`, of several tags their names joined.
    """
    source, chosen = _source(connection, asked, keys)
    if not source or not keys:
        return {key: {} for key in keys}
    columns = [f"key_{key}" for key in keys]
    sets = ", ".join(f"(cell, {column})" for column in columns)
    rows = connection.execute(
        f"SELECT cell, {', '.join(columns)}, count(*) AS n FROM ({source})"  # noqa: S608 (as above)
        f" GROUP BY GROUPING SETS ({sets})",
        chosen,
    ).fetchall()
    found: dict[str, dict[str, Counts]] = {key: {} for key in keys}
    for cell, *values, n in rows:
        # In a row of the result all keys but one are left out.
        key, value = next((k, v) for k, v in zip(keys, values, strict=True) if v is not None)
        counts = found[key].setdefault(value, np.zeros(asked.cells.size, dtype=np.int64))
        counts[cell] += n
    return found


def ids_of_cells(
    connection: duckdb.DuckDBPyConnection, asked: Asked, cells: Sequence[int], limit: int
) -> list[str]:
    """Return the newest predictions whose feature lies in one of some cells, newest first."""
    source, chosen = _source(connection, asked, ())
    if not source:
        return []
    rows = connection.execute(
        f"SELECT DISTINCT id, started_at FROM ({source}) WHERE list_contains($cells, cell)"  # noqa: S608 (as above)
        " ORDER BY started_at DESC, id DESC LIMIT $limit",
        {**chosen, "cells": list(cells), "limit": limit},
    ).fetchall()
    return [str(id_) for id_, _ in rows]


def _bounds(asked: Asked) -> dict[str, object]:
    low, high = map(to_timestamp, asked.window)
    return {"from": low, "to": high, "route": asked.route}


def _source(
    connection: duckdb.DuckDBPyConnection, asked: Asked, keys: Sequence[str]
) -> tuple[str, dict[str, object]]:
    """Return a SELECT of id, started_at, cell and keys, and its values; empty without rows."""
    chosen = _bounds(asked)
    found = _rows(connection, asked, keys, chosen)
    if found is None:
        return "", {}
    rows, is_number = found
    if is_number != (asked.cells.edges is not None):
        # The input was a number when the baseline was made and is a text now, or the reverse.
        rows = f"SELECT * REPLACE (NULL AS found) FROM ({rows})"  # noqa: S608 (as above)
    kept = "".join(f", key_{key}" for key in keys)
    cell, join = _cell(asked.cells, chosen)
    return f"SELECT id, started_at{kept}, {cell} AS cell FROM ({rows}) {join}", chosen  # noqa: S608 (as above)


def _rows(
    connection: duckdb.DuckDBPyConnection,
    asked: Asked,
    keys: Sequence[str],
    chosen: dict[str, object],
) -> tuple[str, bool] | None:
    """Return a SELECT of id, started_at, found and keys, and whether what is found are numbers."""
    where, feature = _PRIMARY, asked.feature
    if asked.segment is not None:
        where = f"{where} AND {_in_segment(asked.segment, chosen)}"
    named = "".join(f", {_value_of(key)} AS key_{key}" for key in keys)
    if not feature.startswith(INPUT):
        found = signal_expression(feature)
        rows = f"SELECT id, started_at, {found} AS found{named} FROM predictions WHERE {where}"  # noqa: S608 (as above)
        return rows, feature in NUMBERS
    if not known_inputs(connection, [feature]):
        return None
    inputs = input_rows(connection, [feature], _PRIMARY, ("started_at",))
    rows = (
        f"SELECT p.*, i.started_at, i.input_0 AS found FROM ({inputs.query}) i"  # noqa: S608 (as above)
        f" JOIN (SELECT id{named} FROM predictions WHERE {where}) p ON p.id = i.prediction_id"
    )
    return rows, inputs.numeric[feature]


def _cell(cells: CellForm, chosen: dict[str, object]) -> tuple[str, str]:
    """Return the cell of `found` as an expression, and the join that it needs."""
    if cells.edges is not None:
        # Comparisons of whole columns: a list and a lambda for every row take ten times as long.
        place = " + ".join(f"(found >= {edge!r}::DOUBLE)::INTEGER" for edge in cells.edges)
        number = (
            f"CASE WHEN found IS NULL OR isnan(found) THEN {len(cells.edges) + 2}"
            f" WHEN isinf(found) THEN {len(cells.edges) + 1} ELSE {place} END"
        )
        return number, ""
    known = len(cells.top)
    chosen["words"] = [*cells.top, *cells.rest]
    chosen["places"] = [*range(known), *(known for _ in cells.rest)]
    unknown = known + 1 if cells.complete else known
    word = f"CASE WHEN found IS NULL THEN {known + 2} ELSE coalesce(place, {unknown}) END"
    join = (
        "LEFT JOIN (SELECT unnest($words::VARCHAR[]) AS word, unnest($places::INTEGER[]) AS place)"
        " ON word = found"
    )
    return word, join


def _value_of(key: str) -> str:
    """Return a key's value as an expression over `predictions`, never NULL."""
    expression = SEGMENT_KEYS[key]
    if key == "tag":
        joined = f"array_to_string(list_sort(list_distinct({expression})), '{SETS_JOINED}')"
        return f"coalesce(nullif({joined}, ''), '{NO_VALUE}')"
    return f"coalesce({expression}, '{NO_VALUE}')"


def _in_segment(segment: Segment, chosen: dict[str, object]) -> str:
    """Return a condition over `predictions`; its values are added."""
    expression = SEGMENT_KEYS[segment.key]
    if segment.value != OTHER_VALUES:
        chosen["value"] = segment.value
        if segment.key == "tag":
            return f"list_contains({expression}, $value)"
        return f"{expression} = $value"
    chosen["told"] = list(segment.told)
    if segment.key == "tag":
        return f"NOT list_has_all($told::VARCHAR[], {expression})"
    return f"NOT list_contains($told::VARCHAR[], {expression})"
