"""Rows that someone asked to forget: told by `forgotten`, wherever they come from."""

from collections.abc import Collection

import duckdb

_COVERED = """
p.id IN (SELECT prediction_id FROM forgotten WHERE prediction_id IS NOT NULL)
OR p.started_at < (SELECT max(f.before_at) FROM forgotten f WHERE f.user_key = p.user_key)
"""
GONE = "gone_predictions"


def collect_gone(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    """Put the ids of the rows that must be forgotten into the temporary table `GONE`.

    Parameters
    ----------
    source : str
        What follows FROM: `predictions`, or files of it.

    Returns
    -------
    int
        How many there are.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {GONE} (id UUID)")
    row = connection.execute(
        f"INSERT INTO {GONE} SELECT DISTINCT p.id FROM {source} p WHERE {_COVERED}"  # noqa: S608 (our names)
    ).fetchone()
    # Of a tombstone by id, also what belongs to the row where the row itself is gone.
    connection.execute(
        f"INSERT INTO {GONE} SELECT prediction_id FROM forgotten WHERE prediction_id IS NOT NULL"  # noqa: S608 (our names)
    )
    return int(row[0]) if row else 0


def add_gone(connection: duckdb.DuckDBPyConnection, ids: Collection[str]) -> None:
    """Put further ids into `GONE`."""
    connection.execute(f"INSERT INTO {GONE} SELECT unnest(?::UUID[])", [list(ids)])
