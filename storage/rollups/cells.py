"""Which cells are counted: those of the baseline that was created last, of each route.

The edges are taken from `baselines` inside the transaction of the next batch. Rows of the 48 hours
before are counted from the newest ones back, a slice with each batch: `counted_from` says how far,
and a batch counts its own rows from there on, so that no row is counted twice or left out.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

import duckdb
import msgspec

from storage.rollups.cell_statements import Watched, count_cells
from storage.rollups.state import RollupState, load_state, save_state
from storage.rollups.statements import Rows
from storage.times import HOUR_US, from_timestamp, to_timestamp

COUNTED_BEFORE_US = 48 * HOUR_US
SLICE_ROWS = 25_000
"""Rows after which a slice ends: some 0.2 s of a batch that would take less."""

_CURRENT = """
SELECT route, name || '@' || version, created_at, cells FROM baselines
QUALIFY row_number() OVER (PARTITION BY route ORDER BY created_at DESC, version DESC) = 1
"""
_EARLIER = Rows("started_at >= $low AND started_at < $high AND batch < $before AND route = $route")
_NEVER = to_timestamp(1 << 52)


def note_baselines(connection: duckdb.DuckDBPyConnection) -> None:
    """Say that baselines have changed, inside the transaction that changes them."""
    save_state(connection, baselines=load_state(connection).baselines + 1)


def watch_baselines(
    connection: duckdb.DuckDBPyConnection, state: RollupState, *, before_batch: int
) -> Watched:
    """Take over changed baselines and count a slice of the earlier rows of a new one.

    Runs inside the caller's transaction, which counts the rows from `before_batch` on.

    Returns
    -------
    Watched
        What the rows of the batch are to be counted over.
    """
    if state.baselines != state.baselines_counted:
        _take_over(connection, state)
    watched = Watched.of(connection)
    if watched.behind is None:
        return watched
    _count_back(connection, state, watched, before_batch)
    return Watched.of(connection)


def _take_over(connection: duckdb.DuckDBPyConnection, state: RollupState) -> None:
    known = {
        route: (baseline, created_at)
        for route, baseline, created_at in connection.execute(
            "SELECT DISTINCT route, baseline, created_at FROM cell_edges"
        ).fetchall()
    }
    current = {row[0]: row[1:] for row in connection.execute(_CURRENT).fetchall()}
    for route, kept in known.items():
        if current.get(route, (None, None, None))[:2] != kept:
            for table in ("cell_edges", "rollup_cells", "rollup_segments"):
                connection.execute(f"DELETE FROM {table} WHERE route = ?", [route])  # noqa: S608 (our names)
    for route, (baseline, created_at, cells) in current.items():
        if known.get(route) == (baseline, created_at):
            continue
        first = _wanted_from(connection, state, from_timestamp(created_at))
        features: dict[str, dict[str, Any]] = msgspec.json.decode(cells)
        segments = sorted({one for kept in features.values() for one in kept.get("segments", ())})
        for edges in _edges(features):
            connection.execute(
                "INSERT INTO cell_edges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [route, baseline, created_at, _NEVER, *edges, segments, first],
            )
    save_state(connection, baselines_counted=state.baselines)


def _count_back(
    connection: duckdb.DuckDBPyConnection, state: RollupState, watched: Watched, before_batch: int
) -> None:
    """Count the next slice of the route that is behind, and say from when on all is counted."""
    route = watched.behind
    (high, wanted) = connection.execute(
        "SELECT max(counted_from), max(wanted_from) FROM cell_edges WHERE route = ?", [route]
    ).fetchall()[0]
    first = max(wanted, to_timestamp(state.facts_from))
    low = max(first, _slice_from(connection, route, first, high)) if first < high else high
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE moved_edges AS"
        " SELECT * REPLACE ($low AS counted_from, $wanted AS wanted_from)"
        " FROM cell_edges WHERE route = $route",
        {"route": route, "low": low, "wanted": wanted if low > first else low},
    )
    connection.execute("DELETE FROM cell_edges WHERE route = ?", [route])
    connection.execute("INSERT INTO cell_edges FROM moved_edges")
    connection.execute("DROP TABLE moved_edges")
    chosen = {
        "low": low,
        "high": high,
        "before": before_batch,
        "route": route,
        "hours": to_timestamp(state.rollup_hours_until),
    }
    count_cells(connection, _EARLIER, chosen, watched)


def _slice_from(
    connection: duckdb.DuckDBPyConnection, route: str | None, first: datetime, high: datetime
) -> datetime:
    """Return where a slice of about `SLICE_ROWS` rows begins, a slot at least."""
    slots = connection.execute(
        "SELECT \"at\", sum(n) FROM rollup_counts WHERE route = $route AND role = 'primary'"
        ' AND "at" > $first - INTERVAL 1 HOUR AND "at" < $high GROUP BY "at" ORDER BY "at" DESC',
        {"route": route, "first": first, "high": high},
    ).fetchall()
    rows = 0
    for at, n in slots:
        rows += n
        if rows >= SLICE_ROWS:
            return cast("datetime", at)
    return first


def _wanted_from(
    connection: duckdb.DuckDBPyConnection, state: RollupState, created_at: int
) -> datetime:
    newest = connection.execute("SELECT epoch_us(max(started_at)) FROM predictions").fetchone()
    latest = max(created_at, newest[0] or 0) if newest else created_at
    first = latest - COUNTED_BEFORE_US
    return to_timestamp(max(first - first % HOUR_US, state.facts_from))


def _edges(features: Mapping[str, dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """Yield (feature, edges, top, rest, complete) of a baseline's stored cells."""
    for feature, kept in features.items():
        cells = kept.get("cells", kept)
        if "edges" in cells:
            yield feature, cells["edges"], None, None, None
        elif "top" in cells:
            yield feature, None, cells["top"], cells.get("rest", []), cells.get("complete", True)
