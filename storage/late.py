"""Inputs that are known after their prediction was written: embeddings of what it asked.

They go under a batch of their own, so that whatever reads by batches meets them once, as a late
row; their start, route and the rest are their prediction's.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import duckdb

from storage.features.writing import insert_inputs, make_room
from storage.lifecycle.tombstones import load_tombstones
from storage.records import End, InputRow, Prediction, Signals
from storage.rollups.batch import add_batch
from storage.rollups.statements import BATCHES, Rows
from storage.times import to_timestamp
from storage.writer import next_batch


class LateInputs(NamedTuple):
    """A prediction that is in the log, and what more it was asked with."""

    prediction: Prediction
    inputs: InputRow


def add_late_inputs(
    connection: duckdb.DuckDBPyConnection, given: Sequence[LateInputs], *, now_us: int
) -> int:
    """Commit inputs, all or none; return for how many predictions.

    The ingest must stand still meanwhile: it numbers batches, too. Predictions that were forgotten
    since are left out, and inputs that fit no schema.

    Raises
    ------
    duckdb.Error
        Nothing was written.
    """
    gone = load_tombstones(connection)
    kept = [
        one
        for one in given
        if not gone.covers(one.prediction.id, one.prediction.user_key, one.prediction.started_at)
    ]
    if not kept:
        return 0
    ends = [End(one.prediction) for one in kept]
    signals = [Signals(one.prediction.id, inputs=[one.inputs]) for one in kept]
    room = make_room(connection, ends, signals, now_us)
    connection.begin()
    try:
        number = next_batch(connection)
        schemas = insert_inputs(connection, ends, signals, number, room.schemas)
        add_batch(connection, number, schemas, _rows(ends))
        connection.commit()
    except duckdb.Error:
        with suppress(duckdb.Error):
            connection.rollback()
        raise
    return len(kept)


def _rows(ends: Sequence[End]) -> Rows:
    """Return the batch's rows; their predictions are in earlier ones, and found by their start."""
    starts = [end.prediction.started_at for end in ends]
    low, high = map(to_timestamp, (min(starts), max(starts)))
    return Rows(
        BATCHES.where,
        facts=f"started_at >= TIMESTAMP '{low}' AND started_at <= TIMESTAMP '{high}'",
    )
