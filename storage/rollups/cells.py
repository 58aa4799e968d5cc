"""Which cells are counted: those of the baseline that was created last, of each route.

The edges are taken from `baselines` inside the transaction of the next batch, so that no row is
counted twice or left out: rows of the last 48 hours are counted then, once.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import duckdb
import msgspec

from storage.rollups.cell_statements import Watched, count_cells
from storage.rollups.state import RollupState, load_state, save_state
from storage.rollups.statements import Rows
from storage.times import HOUR_US, from_timestamp, to_timestamp

COUNTED_BEFORE_US = 48 * HOUR_US

_CURRENT = """
SELECT route, name || '@' || version, created_at, cells FROM baselines
QUALIFY row_number() OVER (PARTITION BY route ORDER BY created_at DESC, version DESC) = 1
"""
_EARLIER = Rows("started_at >= $low AND started_at < $high AND batch < $before AND route = $route")
_NEVER = to_timestamp(1 << 52)


def note_baselines(connection: duckdb.DuckDBPyConnection) -> None:
    """Say that baselines have changed, inside the transaction that changes them."""
    save_state(connection, baselines=load_state(connection).baselines + 1)


def count_new_baselines(
    connection: duckdb.DuckDBPyConnection, state: RollupState, *, before_batch: int
) -> None:
    """Take over changed baselines and count the earlier rows of new ones.

    Runs inside the caller's transaction, which counts the rows from `before_batch` on.
    """
    known = {
        route: (baseline, created_at)
        for route, baseline, created_at in connection.execute(
            "SELECT DISTINCT route, baseline, created_at FROM cell_edges"
        ).fetchall()
    }
    current = {row[0]: row[1:] for row in connection.execute(_CURRENT).fetchall()}
    for route, kept in known.items():
        if current.get(route, (None, None, None))[:2] != kept:
            connection.execute("DELETE FROM cell_edges WHERE route = ?", [route])
            connection.execute("DELETE FROM rollup_cells WHERE route = ?", [route])
            connection.execute("DELETE FROM rollup_segments WHERE route = ?", [route])
    for route, (baseline, created_at, cells) in current.items():
        if known.get(route) == (baseline, created_at):
            continue
        first = _counted_from(connection, state, from_timestamp(created_at))
        features: dict[str, dict[str, Any]] = msgspec.json.decode(cells)
        segments = sorted({one for kept in features.values() for one in kept.get("segments", ())})
        for edges in _edges(features):
            connection.execute(
                "INSERT INTO cell_edges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [route, baseline, created_at, first, *edges, segments],
            )
        chosen = {
            "low": first,
            "high": _NEVER,
            "before": before_batch,
            "route": route,
            "hours": to_timestamp(state.rollup_hours_until),
        }
        count_cells(connection, _EARLIER, chosen, Watched.of(connection))
    save_state(connection, baselines_counted=state.baselines)


def _counted_from(
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
