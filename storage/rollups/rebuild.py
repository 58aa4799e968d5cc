"""Roll-ups counted anew from the facts, by the statements that count a batch."""

import duckdb

from storage.features.counting import count_inputs
from storage.features.registry import all_schemas
from storage.rollups.adding import add_up
from storage.rollups.cell_statements import Watched, count_cells
from storage.rollups.state import RollupState, load_state
from storage.rollups.statements import CATEGORIES, FROM_FACTS, ROLLUPS, STARTED, insert
from storage.times import HOUR_US, to_timestamp


def rebuild_days(connection: duckdb.DuckDBPyConnection, from_us: int, to_us: int) -> None:
    """Replace the roll-ups of [from_us, to_us) by counts of the facts, in one transaction.

    Parameters
    ----------
    from_us, to_us : int
        Microseconds since the epoch, whole hours. All facts of the time must be there: what has
        expired is left out by the caller.
    """
    connection.begin()
    try:
        recount(connection, load_state(connection), from_us, to_us)
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        raise


def recount(
    connection: duckdb.DuckDBPyConnection, state: RollupState, from_us: int, to_us: int
) -> None:
    """Replace the roll-ups of whole hours inside the caller's transaction."""
    if from_us % HOUR_US or to_us % HOUR_US:
        raise ValueError(f"[{from_us}, {to_us}) us are not whole hours")
    span = {"low": to_timestamp(from_us), "high": to_timestamp(to_us)}
    schemas = all_schemas(connection)
    chosen = {**span, "hours": to_timestamp(state.rollup_hours_until)}
    for rollup in ROLLUPS:
        connection.execute(
            f'DELETE FROM {rollup.table} WHERE "at" >= $low AND "at" < $high',  # noqa: S608 (names of this folder)
            span,
        )
    for rollup in FROM_FACTS:
        connection.execute(insert(rollup, STARTED), chosen)
        count_inputs(connection, rollup, STARTED, chosen, schemas)
    count_cells(connection, STARTED, chosen, Watched.of(connection))
    add_up(connection, CATEGORIES, (from_us, to_us), hours_until=state.rollup_hours_until)
