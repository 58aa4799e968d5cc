"""Buckets of many slots, added up by series: what a report over days spends most of its time on.

The names of a series are hashed once a row and compared nowhere: grouping by four texts takes
three times as long.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from storage.log import Buckets, Counts, Coverage
from storage.rollups.statements import Rollup, Rows
from storage.times import to_timestamp

SERIES = "route, variant, role, measure"
_MISSING = -(2**31)
"""Stands for the rows without a number: before every bucket."""


class Bucketed(NamedTuple):
    """Buckets, ascending, their rows, and the rows without a number."""

    buckets: Buckets
    counts: Counts
    missing: int


class Asked(NamedTuple):
    """What a read selects: rows of a roll-up from a window, and further conditions.

    Attributes
    ----------
    where : str
        Over columns of the roll-up; `$name` are values of `chosen`.
    raw : callable
        Returns the same rows as a SELECT over the facts.
    raw_sums : str
        Columns that raw rows lack and roll-ups have.
    """

    rollup: Rollup
    where: str
    chosen: Mapping[str, object]
    raw: Callable[[Rows], str]
    raw_sums: str = ""


def series_of(
    connection: duckdb.DuckDBPyConnection, asked: Asked, coverage: Coverage
) -> dict[tuple[object, ...], Bucketed]:
    """Count numbers by route, variant, role, measure and bucket, in order of them.

    Two series are one where a hash of 64 bits says so: of a thousand series, once in 10**13 logs.
    """
    slots = connection.execute(
        f"SELECT hash({SERIES}) AS series, coalesce(bucket, {_MISSING}) AS bucket,"  # noqa: S608 (names of this folder)
        f" sum(n)::BIGINT AS n, any_value(rowid) AS place FROM {asked.rollup.table}"
        f' WHERE "at" >= $first AND "at" < $end AND {asked.where} GROUP BY series, bucket',
        {**asked.chosen, **_bounds(coverage)},
    ).fetchnumpy()
    _, first, series = np.unique(slots["series"], return_index=True, return_inverse=True)
    numbers = {
        key: number for number, key in enumerate(_named(connection, asked, slots["place"][first]))
    }
    source, values = source_of(asked, coverage, slots=False)
    edges = (
        connection.execute(
            f"SELECT {SERIES}, coalesce(bucket, {_MISSING}), sum(n)::BIGINT FROM ({source})"  # noqa: S608 (as above)
            " GROUP BY ALL",
            values,
        ).fetchall()
        if source
        else []
    )
    added = [numbers.setdefault(row[:4], len(numbers)) for row in edges]
    counted = np.array([row[4:] for row in edges], dtype=np.int64).reshape(-1, 2)
    table = np.empty((len(series) + len(edges), 3), dtype=np.int64)
    table[:, 0] = np.concatenate((series, np.array(added, dtype=np.int64)))
    table[:, 1] = np.concatenate((slots["bucket"], counted[:, 0]))
    table[:, 2] = np.concatenate((slots["n"], counted[:, 1]))
    found = _added_up(table)
    return {key: found[numbers[key]] for key in sorted(numbers)}


def source_of(
    asked: Asked, coverage: Coverage, *, slots: bool = True
) -> tuple[str, dict[str, object]]:
    """Return the SELECT of a window's rows of a roll-up, slots and edges, and its values.

    Without slots and edges it is empty.
    """
    chosen = dict(asked.chosen)
    parts = []
    if slots:
        within = '"at" >= $first AND "at" < $end'
        parts.append(f"SELECT * FROM {asked.rollup.table} WHERE {within} AND {asked.where}")  # noqa: S608 (names of this folder)
        chosen |= _bounds(coverage)
    for number, edge in enumerate(coverage.edges):
        low, high = f"low_{number}", f"high_{number}"
        raw = asked.raw(Rows(f"started_at >= ${low} AND started_at < ${high}"))
        parts.append(f"SELECT *{asked.raw_sums} FROM ({raw}) WHERE {asked.where}")  # noqa: S608 (as above)
        chosen |= {low: to_timestamp(edge.from_us), high: to_timestamp(edge.to_us)}
    if coverage.edges:
        # The slot of an edge's row is not looked at.
        chosen["hours"] = to_timestamp(0)
    return " UNION ALL BY NAME ".join(parts), chosen


def is_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Say whether rows have a place: a table of an archive that is read offline is a view."""
    found = connection.execute("SELECT 1 FROM duckdb_views() WHERE view_name = ?", [name])
    return not found.fetchall()


def split(rows: Sequence[tuple[int | None, int]]) -> Bucketed:
    """Return the (bucket, rows) of a series, in order of buckets with None first."""
    missing = rows[0][1] if rows and rows[0][0] is None else 0
    counted = np.array(rows[1:] if missing else rows, dtype=np.int64).reshape(-1, 2)
    return Bucketed(counted[:, 0].astype(np.int32), counted[:, 1].copy(), missing)


def _bounds(coverage: Coverage) -> dict[str, object]:
    low, high = coverage.slots
    return {"first": to_timestamp(low), "end": to_timestamp(high)}


def _named(
    connection: duckdb.DuckDBPyConnection, asked: Asked, places: npt.NDArray[np.int64]
) -> list[tuple[object, ...]]:
    """Return the names at some places of a table, in their order."""
    rows = connection.execute(
        f"SELECT rowid, {SERIES} FROM {asked.rollup.table}"  # noqa: S608 (as above)
        " WHERE rowid IN (SELECT unnest(?::BIGINT[]))",
        [places.tolist()],
    ).fetchall()
    found = {row[0]: row[1:] for row in rows}
    return [found[place] for place in places.tolist()]


def _added_up(table: npt.NDArray[np.int64]) -> dict[int, Bucketed]:
    """Add up rows (series, bucket, n), and part them by series."""
    ordered = table[np.lexsort((table[:, 1], table[:, 0]))]
    changes = np.any(ordered[1:, :2] != ordered[:-1, :2], axis=1)
    starts = np.flatnonzero(np.concatenate(([True], changes)))[: len(ordered)]
    series, buckets = ordered[starts, 0], ordered[starts, 1]
    sums = np.add.reduceat(ordered[:, 2], starts) if len(starts) else np.zeros(0, np.int64)
    found = {}
    ends = np.flatnonzero(np.concatenate((series[1:] != series[:-1], [True])))[: len(series)] + 1
    low = 0
    for high in ends.tolist():
        unknown = int(buckets[low] == _MISSING)
        found[int(series[low])] = Bucketed(
            buckets[low + unknown : high].astype(np.int32),
            sums[low + unknown : high].copy(),
            int(sums[low]) if unknown else 0,
        )
        low = high
    return found
