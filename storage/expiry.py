"""Removing rows by age, facts and roll-ups apart: counts outlive what they count."""

import duckdb

from storage.features.registry import all_schemas
from storage.log import Cutoffs, Removed
from storage.rollups.state import load_state, save_state
from storage.rollups.statements import ROLLUPS
from storage.times import to_timestamp


def remove_before(connection: duckdb.DuckDBPyConnection, cutoffs: Cutoffs) -> Removed:
    """Remove what started before the cut-offs, inside the caller's transaction."""
    removed = Removed(0, 0, 0, 0)
    if cutoffs.facts_before_us is not None:
        before_us = cutoffs.facts_before_us
        removed = Removed(
            predictions=_delete(connection, "predictions", "started_at", before_us),
            attempts=_delete(connection, "attempts", "started_at", before_us),
            feedback=_delete(connection, "feedback", "given_at", before_us),
            rollups=0,
        )
        for schema in all_schemas(connection):
            _delete(connection, f'"{schema.table}"', "started_at", before_us)
        if before_us > load_state(connection).facts_from:
            save_state(connection, facts_from=before_us)
    if cutoffs.rollups_before_us is not None:
        before_us = cutoffs.rollups_before_us
        rows = sum(_delete(connection, rollup.table, '"at"', before_us) for rollup in ROLLUPS)
        removed = removed._replace(rollups=rows)
    return removed


def _delete(connection: duckdb.DuckDBPyConnection, table: str, column: str, before_us: int) -> int:
    row = connection.execute(
        f"DELETE FROM {table} WHERE {column} < ?",  # noqa: S608 (names of this folder)
        [to_timestamp(before_us)],
    ).fetchone()
    return int(row[0]) if row else 0
