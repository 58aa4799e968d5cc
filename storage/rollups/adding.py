"""Rows of the same slot and key become one.

A category keeps the same values whichever rows are added up first: of the values of a slot the
256 whose MD5 is least. The 256 least of any part contain those of the whole that the part has
(the rule of bottom-k sketches: Cohen and Kaplan, "Summarizing data using bottom-k sketches",
PODC 2007), so that no kept value ever lost a row to the others.
"""

import duckdb

from storage.rollups.statements import CATEGORIES, HOUR_S, Rollup
from storage.times import to_timestamp

VALUES_PER_SLOT = 256
OTHER = "(other)"


def add_up(
    connection: duckdb.DuckDBPyConnection,
    rollup: Rollup,
    span_us: tuple[int, int],
    *,
    hours_until: int,
) -> None:
    """Add up the rows whose slots start in a span, inside the caller's transaction.

    Parameters
    ----------
    span_us : tuple of int
        Microseconds since the epoch, [from, to); whole hours before `hours_until`.
    hours_until : int
        Microseconds since the epoch: slots that start before become hours.
    """
    low_us, high_us = span_us
    span = {"low": to_timestamp(low_us), "high": to_timestamp(high_us)}
    keys = rollup.keys.replace('"at", grain_s, ', "", 1)
    slot = (
        f'CASE WHEN "at" < $hours THEN date_trunc(\'hour\', "at") ELSE "at" END AS slot_at,'
        f' CASE WHEN "at" < $hours THEN {HOUR_S} ELSE grain_s END AS slot_s'
    )
    within = '"at" >= $low AND "at" < $high'
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE added_up AS SELECT {slot}, {keys}, {rollup.sums}"  # noqa: S608 (names of this folder)
        f" FROM {rollup.table} WHERE {within} GROUP BY slot_at, slot_s, {keys}",
        {**span, "hours": to_timestamp(hours_until)},
    )
    if rollup is CATEGORIES:
        _keep_values(connection)
    connection.execute(f"DELETE FROM {rollup.table} WHERE {within}", span)  # noqa: S608 (as above)
    connection.execute(f"INSERT INTO {rollup.table} FROM added_up ORDER BY ALL")
    connection.execute("DROP TABLE added_up")


def _keep_values(connection: duckdb.DuckDBPyConnection) -> None:
    """Count the values of a slot beyond those that are kept as others."""
    slot = "slot_at, slot_s, route, variant, upstream, model, role, feature"
    many = connection.execute(
        f"SELECT 1 FROM added_up GROUP BY {slot} HAVING count(*) > ? LIMIT 1",  # noqa: S608 (names of this file)
        [VALUES_PER_SLOT],
    ).fetchone()
    if many is None:
        return
    ranked = (
        f"SELECT *, value IS NULL OR value = '{OTHER}' OR sum((value <> '{OTHER}')::INTEGER)"  # noqa: S608 (as above)
        f" OVER (PARTITION BY {slot} ORDER BY md5(value), value) <= {VALUES_PER_SLOT} AS kept"
        " FROM added_up"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE added_up AS"  # noqa: S608 (as above)
        f" SELECT {slot}, CASE WHEN kept THEN value ELSE '{OTHER}' END AS value, sum(n) AS n"
        f" FROM ({ranked}) GROUP BY ALL"
    )
