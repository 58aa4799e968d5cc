"""Counts of a window, as `storage.log` names them; statistics are made of them elsewhere.

Every function takes a `Moment`: slots, edges and the state that says where they meet are of one
transaction.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

import duckdb

from storage.features.counting import all_category_rows, all_value_rows, schemas_with
from storage.log import (
    AttemptCounts,
    CategoryCounts,
    CountRow,
    Coverage,
    TimelineRow,
    ValueCounts,
)
from storage.reader import Scope, Window
from storage.rollups import statements
from storage.rollups.cell_statements import Watched, cell_rows, segment_rows
from storage.rollups.series import SERIES, Asked, Bucketed, is_table, series_of, source_of, split
from storage.rollups.state import SLOT_US, RollupState, load_state
from storage.rollups.statements import (
    ATTEMPT_LATENCY,
    ATTEMPT_SUMS,
    ATTEMPTS,
    CATEGORIES,
    CELLS,
    COUNT_SUMS,
    COUNTS,
    SEGMENTS,
    VALUES,
)
from storage.rollups.windows import cover
from storage.times import HOUR_US

_GROUP = "route, variant, role"
_FAILED = "reason NOT IN ('', 'client_closed') AND status NOT BETWEEN 400 AND 499"
_ONE = ", 1 AS n"


class Moment(NamedTuple):
    """A connection in a transaction, and how far the roll-ups are in it."""

    connection: duckdb.DuckDBPyConnection
    state: RollupState

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection) -> "Moment":
        """Read the state."""
        return cls(connection, load_state(connection))

    def cover(self, window: Window, *, exact: bool = False) -> Coverage:
        """Split a window; see `storage.rollups.windows.cover`."""
        return cover(self.state, window, exact=exact)


def count_rows(moment: Moment, scope: Scope, *, exact: bool = False) -> list[CountRow]:
    """Count requests; see `PredictionLog.counts`."""
    keys = "route, variant, role, upstream, model, cache, status, reason, stream, fallback"
    sums = ", ".join(f"sum({name})::HUGEINT" for name in COUNT_SUMS)
    where, chosen = _conditions(scope)
    source, values = source_of(
        Asked(COUNTS, where, chosen, statements.count_rows),
        moment.cover(scope.window, exact=exact),
    )
    rows = moment.connection.execute(
        f"SELECT {keys}, {sums}, epoch_us(min(first_at)), epoch_us(max(last_at))"  # noqa: S608 (names of this folder)
        f" FROM ({source}) GROUP BY {keys} ORDER BY {keys}",
        values,
    ).fetchall()
    return [CountRow(*row) for row in rows]


def value_counts(
    moment: Moment,
    scope: Scope,
    measures: Sequence[str],
    *,
    exact: bool = False,
) -> list[ValueCounts]:
    """Count numbers by bucket; see `PredictionLog.values`."""
    where, chosen = _conditions(scope)
    asked = Asked(
        VALUES,
        f"{where} AND {_among('measure', chosen, measures)}",
        chosen,
        partial(
            all_value_rows, measures=measures, schemas=schemas_with(moment.connection, measures)
        ),
        _ONE,
    )
    coverage = moment.cover(scope.window, exact=exact)
    if coverage.slots.from_us < coverage.slots.to_us and is_table(moment.connection, VALUES.table):
        counted = series_of(moment.connection, asked, coverage)
    else:
        source, chosen = source_of(asked, coverage)
        counted = _bucketed(moment.connection, source, chosen, SERIES)
    return [ValueCounts._make((*key, *found)) for key, found in counted.items()]


def category_counts(
    moment: Moment,
    scope: Scope,
    features: Sequence[str],
    *,
    exact: bool = False,
) -> list[CategoryCounts]:
    """Count categories; see `PredictionLog.categories`."""
    where, chosen = _conditions(scope)
    asked = Asked(
        CATEGORIES,
        f"{where} AND {_among('feature', chosen, features)}",
        chosen,
        partial(
            all_category_rows, features=features, schemas=schemas_with(moment.connection, features)
        ),
        _ONE,
    )
    source, values = source_of(asked, moment.cover(scope.window, exact=exact))
    keys = f"{_GROUP}, feature"
    rows = moment.connection.execute(
        f"SELECT {keys}, value, sum(n)::BIGINT FROM ({source})"  # noqa: S608 (names of this folder)
        f" GROUP BY {keys}, value ORDER BY {keys}, value NULLS LAST",
        values,
    ).fetchall()
    found = []
    for key, group in groupby(rows, key=lambda row: row[:4]):
        counted = {row[4]: row[5] for row in group}
        missing = counted.pop(None, 0)
        found.append(CategoryCounts._make((*key, counted, missing)))
    return found


def cell_counts(
    moment: Moment, scope: Scope, baseline: str, segment: str = ""
) -> dict[str, dict[int, int]]:
    """Count primary rows over a baseline's cells; see `PredictionLog.cells`."""
    coverage = moment.cover(scope.window)
    if not _are_counted(moment, scope, baseline, coverage):
        return {}
    chosen: dict[str, object] = {"route": scope.route, "baseline": baseline}
    where, rollup, rows_of = "route = $route AND baseline = $baseline", CELLS, cell_rows
    if segment:
        where, rollup, rows_of = f"{where} AND segment = $segment", SEGMENTS, segment_rows
        chosen["segment"] = segment
    watched = Watched.of(moment.connection)
    asked = Asked(rollup, where, chosen, partial(rows_of, watched=watched), _ONE)
    source, values = source_of(asked, coverage)
    found: dict[str, dict[int, int]] = {}
    for feature, cell, n in moment.connection.execute(
        f"SELECT feature, cell, sum(n)::BIGINT FROM ({source}) GROUP BY feature, cell"  # noqa: S608 (names of this folder)
        " ORDER BY feature, cell",
        values,
    ).fetchall():
        found.setdefault(feature, {})[cell] = n
    return found


def counted_baselines(moment: Moment, window: Window) -> list[tuple[str, str]]:
    """Return (route, baseline) of those whose cells are counted all over a window."""
    return moment.connection.execute(
        "SELECT route, baseline FROM cell_edges GROUP BY route, baseline"
        " HAVING epoch_us(max(counted_from)) <= ? ORDER BY route, baseline",
        [moment.cover(window).window.from_us],
    ).fetchall()


def _are_counted(moment: Moment, scope: Scope, baseline: str, coverage: Coverage) -> bool:
    counted = moment.connection.execute(
        "SELECT epoch_us(max(counted_from)) FROM cell_edges WHERE route = ? AND baseline = ?",
        [scope.route, baseline],
    ).fetchone()
    if counted is None or counted[0] is None:
        return False
    return int(counted[0]) <= coverage.window.from_us


def attempt_counts(moment: Moment, scope: Scope, *, exact: bool = False) -> list[AttemptCounts]:
    """Count tries; see `PredictionLog.attempts`."""
    keys = "route, upstream, role"
    where, chosen = _conditions(scope, ("route", "role"))
    coverage = moment.cover(scope.window, exact=exact)
    source, values = source_of(Asked(ATTEMPTS, where, chosen, statements.attempt_rows), coverage)
    sums = ", ".join(f"sum({name})::BIGINT" for name in ATTEMPT_SUMS)
    counted = moment.connection.execute(
        f"SELECT {keys}, {sums} FROM ({source}) GROUP BY {keys} ORDER BY {keys}",  # noqa: S608 (names of this folder)
        values,
    ).fetchall()
    latency = _of_measure(ATTEMPT_LATENCY, where, chosen)
    source, values = source_of(latency, coverage)
    none, timed = split(()), _bucketed(moment.connection, source, values, keys)
    return [AttemptCounts._make((*row, *timed.get(row[:3], none)[:2])) for row in counted]


def timeline(moment: Moment, scope: Scope, step_us: int) -> list[TimelineRow]:
    """Count requests by step of time and route; see `PredictionLog.timeline`."""
    if step_us <= 0 or step_us % SLOT_US:
        raise ValueError(f"a step of {step_us} us is no multiple of {SLOT_US} us (5 minutes)")
    has_hours = scope.window.from_us < moment.state.rollup_hours_until
    coverage = moment.cover(scope.window, exact=has_hours and step_us % HOUR_US > 0)
    where, chosen = _conditions(scope)
    keys = f'epoch_us("at") // {step_us} * {step_us} AS step_at, route'
    source, values = source_of(Asked(COUNTS, where, chosen, statements.count_rows), coverage)
    counted = moment.connection.execute(
        f"SELECT {keys}, sum(n)::BIGINT, coalesce(sum(n) FILTER ({_FAILED}), 0)::BIGINT,"  # noqa: S608 (names of this folder)
        f" sum(cost_nano_usd)::HUGEINT, sum(cost_known)::BIGINT FROM ({source})"
        " GROUP BY step_at, route ORDER BY step_at, route",
        values,
    ).fetchall()
    latency = _of_measure("latency_s", where, chosen)
    source, values = source_of(latency, coverage)
    stepped = f"SELECT *, {keys.removesuffix(', route')} FROM ({source})"  # noqa: S608 (as above)
    none, timed = split(()), _bucketed(moment.connection, stepped, values, "step_at, route")
    return [TimelineRow._make((*row, *timed.get(row[:2], none)[:2])) for row in counted]


def _of_measure(measure: str, where: str, chosen: Mapping[str, object]) -> Asked:
    raw = partial(statements.value_rows, measures=(measure,))
    return Asked(VALUES, f"{where} AND measure = '{measure}'", chosen, raw, _ONE)


def _conditions(
    scope: Scope, names: Sequence[str] = ("route", "model", "variant", "role")
) -> tuple[str, dict[str, object]]:
    chosen = {name: getattr(scope, name) for name in names if getattr(scope, name) is not None}
    return " AND ".join(("true", *(f"{name} = ${name}" for name in chosen))), chosen


def _among(column: str, chosen: dict[str, object], names: Sequence[str]) -> str:
    """Return a condition on names; parameters are tested in the scan, a subquery is joined."""
    given = {f"{column}_{place}": name for place, name in enumerate(names)}
    chosen |= given
    return f"{column} IN ({', '.join(f'${name}' for name in given)})" if given else "false"


def _bucketed(
    connection: duckdb.DuckDBPyConnection, source: str, values: Mapping[str, object], keys: str
) -> dict[tuple[object, ...], Bucketed]:
    """Count by bucket for every key, in order of keys."""
    rows = connection.execute(
        f"SELECT {keys}, bucket, sum(n)::BIGINT FROM ({source}) GROUP BY ALL"  # noqa: S608 (names of this folder)
        " ORDER BY bucket NULLS FIRST",
        dict(values),
    ).fetchall()
    groups: dict[tuple[object, ...], list[tuple[int | None, int]]] = {}
    for row in rows:
        groups.setdefault(row[:-2], []).append(row[-2:])
    return {key: split(groups[key]) for key in sorted(groups)}
