"""Roll-ups of what a batch has just added, in its transaction."""

from collections.abc import Mapping, Sequence

import duckdb

from storage.features.counting import count_inputs
from storage.features.registry import all_schemas
from storage.features.schema import Schema
from storage.rollups.cell_statements import count_cells
from storage.rollups.cells import watch_baselines
from storage.rollups.state import RollupState, load_state
from storage.rollups.statements import BATCHES, FROM_FACTS, Rollup, Rows, insert
from storage.times import to_timestamp

_INSERTS: Mapping[Rollup, str] = {rollup: insert(rollup, BATCHES) for rollup in FROM_FACTS}


def add_batch(
    connection: duckdb.DuckDBPyConnection,
    batch_no: int,
    inputs: Sequence[Schema] | None = None,
    rows: Rows = BATCHES,
) -> None:
    """Count the rows of a batch; called after they are in and before the commit.

    Parameters
    ----------
    inputs : sequence of Schema, optional
        Tables that have inputs of the batch; all are looked at by default.
    rows : Rows
        `BATCHES`, with where the predictions of its inputs are if they are not in it.
    """
    add_batches(connection, batch_no, batch_no, inputs, rows)


def add_batches(
    connection: duckdb.DuckDBPyConnection,
    first: int,
    last: int,
    inputs: Sequence[Schema] | None = None,
    rows: Rows = BATCHES,
) -> RollupState:
    """Count the rows of consecutive batches, inside the caller's transaction."""
    state = load_state(connection)
    watched = watch_baselines(connection, state, before_batch=first)
    hours = to_timestamp(state.rollup_hours_until)
    chosen = {"low": first, "high": last, "hours": hours}
    schemas = all_schemas(connection) if inputs is None else inputs
    for rollup, statement in _INSERTS.items():
        connection.execute(statement, chosen)
        count_inputs(connection, rollup, BATCHES, chosen, schemas)
    count_cells(connection, rows, chosen, watched)
    return state
