"""Reads of raw rows for what roll-ups know to 1 % only: percentiles, cells, columns.

Every function takes a connection in a transaction. Memory is bounded by numbers, not by rows of
text: 8 bytes for every row and measure.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from storage.reader import Scope, Window
from storage.rollups.statements import NUMBERS
from storage.times import to_timestamp

MEASURES = ("latency_s", "ttft_s", "overhead_s")
SHARES = (0.5, 0.95, 0.99)

_WHOLE = (
    "prompt_tokens",
    "response_tokens",
    "prompt_chars",
    "response_chars",
    "reasoning_tokens",
    "tool_calls",
)
_MOST = 2**63 - 1

Quantiles = tuple[float, ...]


class Timed(NamedTuple):
    """Exact percentiles of a group.

    Attributes
    ----------
    variant : str or None
        None is all variants of the route together: latency alone.
    known : dict of str to int
        Rows by measure that know it.
    quantiles : dict of str to tuple of float
        By measure, one for each of `SHARES`, interpolated; measures without rows are left out.
    """

    route: str
    variant: str | None
    role: str
    known: dict[str, int]
    quantiles: dict[str, Quantiles]


class Tried(NamedTuple):
    """Exact percentiles of the `n` tries at an upstream; None without tries."""

    upstream: str
    role: str
    n: int
    quantiles: Quantiles | None


class CellCounts(NamedTuple):
    """Rows of a route by cell of a number.

    Attributes
    ----------
    below : tuple of int
        Finite rows below each edge.
    known, invalid, rows : int
        Rows that are no NULL and no NaN; infinite ones; all.
    """

    below: tuple[int, ...]
    known: int
    invalid: int
    rows: int

    def by_cell(self) -> dict[int, int]:
        """Return rows by cell: below the first edge, between edges, above, invalid, missing."""
        ends = (0, *self.below, self.known - self.invalid)
        line = [b - a for a, b in itertools.pairwise(ends)]
        return dict(enumerate((*line, self.invalid, self.rows - self.known)))


def percentiles(connection: duckdb.DuckDBPyConnection, scope: Scope) -> list[Timed]:
    """Compute percentiles by route, variant and role; latency also of all variants together."""
    apart = _timed(connection, scope, MEASURES)
    variants: dict[tuple[str, str], list[Timed]] = {}
    for found in apart:
        variants.setdefault((found.route, found.role), []).append(found)
    several = [key for key, found in variants.items() if len(found) > 1]
    alone = [found[0]._replace(variant=None) for found in variants.values() if len(found) == 1]
    routes = sorted({route for route, _ in several})
    together = _timed(connection, scope, MEASURES[:1], routes) if several else []
    return [*apart, *alone, *(found for found in together if (found.route, found.role) in several)]


def _timed(
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    measures: Sequence[str],
    together: Sequence[str] | None = None,
) -> list[Timed]:
    """Compute percentiles of each variant, or of all of them in the routes of `together`."""
    where, values = where_of(scope)
    variant = "variant"
    if together is not None:
        variant, where = "NULL", f"{where} AND list_contains($together, route)"
        values["together"] = list(together)
    wanted = ", ".join(f"count({m}), quantile_cont({m}, {list(SHARES)})" for m in measures)
    columns = ", ".join(f"{NUMBERS[name]} AS {name}" for name in measures)
    rows = connection.execute(
        f"""
        SELECT route, shown, role, {wanted}
        FROM (SELECT route, {variant} AS shown, role, {columns} FROM predictions WHERE {where})
        GROUP BY route, shown, role
        """,  # noqa: S608 (names of this file)
        values,
    ).fetchall()
    return [
        Timed(
            row[0],
            row[1],
            row[2],
            dict(zip(measures, row[3::2], strict=True)),
            {m: tuple(q) for m, q in zip(measures, row[4::2], strict=True) if q is not None},
        )
        for row in rows
    ]


def attempt_percentiles(connection: duckdb.DuckDBPyConnection, scope: Scope) -> list[Tried]:
    """Compute percentiles of the tries by upstream and role; model and variant do not count."""
    where, values = where_of(scope._replace(model=None, variant=None))
    rows = connection.execute(
        f"SELECT upstream, role, count(*), quantile_cont(latency_s, {list(SHARES)})"  # noqa: S608 (names of this file)
        f" FROM attempts WHERE {where} GROUP BY upstream, role",
        values,
    ).fetchall()
    return [
        Tried(row[0], row[1], row[2], None if row[3] is None else tuple(row[3])) for row in rows
    ]


def cells_of(
    connection: duckdb.DuckDBPyConnection, scope: Scope, edges: Mapping[str, Sequence[float]]
) -> dict[str, CellCounts]:
    """Count rows over edges in one scan; no row leaves the database.

    Parameters
    ----------
    edges : mapping of str to sequence of float
        Ascending, by number's name. A value that equals an edge goes up.
    """
    if not edges:
        return {}
    where, values = where_of(scope)
    columns = ", ".join(f"{NUMBERS[name]} AS {name}" for name in edges)
    wanted = ["count(*)"]
    for name, cuts in edges.items():
        wanted += _counts_of(name, cuts)
    row = connection.execute(
        f"SELECT {', '.join(wanted)} FROM (SELECT {columns} FROM predictions WHERE {where})",  # noqa: S608 (as above)
        values,
    ).fetchone()
    assert row is not None, "an aggregate has a row"
    found, place = {}, 1
    for name, cuts in edges.items():
        known, invalid, least = row[place : place + 3]
        below = row[place + 3 : place + 3 + len(cuts)]
        found[name] = CellCounts(tuple(n - least for n in below), known, invalid, row[0])
        place += 3 + len(cuts)
    return found


def _counts_of(name: str, cuts: Sequence[float]) -> list[str]:
    """Return aggregates: known rows, infinite ones, those at minus infinity, below each cut."""
    if name in _WHOLE:
        # A cut that is whole, too, spares a conversion of every row for every cut.
        whole = [min(max(math.ceil(cut), -_MOST), _MOST) for cut in cuts]
        return [f"count({name})", "0", "0", *(f"count_if({name} < {cut})" for cut in whole)]
    return [
        f"count_if(NOT isnan({name}))",
        f"count_if(isinf({name}))",
        f"count_if({name} = '-inf'::DOUBLE)",
        *(f"count_if({name} < {cut!r}::DOUBLE)" for cut in cuts),
    ]


def column_of(
    connection: duckdb.DuckDBPyConnection, scope: Scope, feature: str
) -> npt.NDArray[np.float64]:
    """Return one number of a scope's rows, in no order.

    Returns
    -------
    ndarray of float64, shape (rows,)
        NaN is unknown.
    """
    where, values = where_of(scope)
    found: Any = connection.execute(
        f"SELECT ({NUMBERS[feature]})::DOUBLE AS found FROM predictions WHERE {where}",  # noqa: S608 (as above)
        values,
    ).fetchnumpy()["found"]
    return np.asarray(
        np.ma.filled(np.ma.asarray(found, dtype=np.float64), np.nan), dtype=np.float64
    )


def newest_starts(
    connection: duckdb.DuckDBPyConnection, route: str, rows: int, before_us: int
) -> Window | None:
    """Return the first and the last start, both included, of a route's newest primary rows.

    None where there are fewer than `rows` that started before `before_us`.
    """
    found = connection.execute(
        """
        SELECT count(*), epoch_us(min(started_at)), epoch_us(max(started_at)) FROM (
            SELECT started_at FROM predictions
            WHERE route = $route AND role = 'primary' AND started_at < $before
            ORDER BY started_at DESC LIMIT $rows)
        """,
        {"route": route, "before": to_timestamp(before_us), "rows": rows},
    ).fetchone()
    return Window(found[1], found[2]) if found and found[0] == rows else None


def where_of(scope: Scope) -> tuple[str, dict[str, object]]:
    """Return a condition that names only what is chosen: a test of a NULL reads its column."""
    named = {
        "route": "route",
        "model": "coalesce(model_answered, model_asked)",
        "variant": "variant",
        "role": "role",
    }
    chosen = {name: getattr(scope, name) for name in named if getattr(scope, name) is not None}
    conditions = [
        "started_at >= $from AND started_at < $to",
        *(f"{named[name]} = ${name}" for name in chosen),
    ]
    window = {
        "from": to_timestamp(scope.window.from_us),
        "to": to_timestamp(scope.window.to_us),
    }
    return " AND ".join(conditions), {**window, **chosen}
