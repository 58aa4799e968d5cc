"""Feedback that comes as files: written at once, without the spool."""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from storage.columns import feedback_arrays, insert
from storage.lifecycle.tombstones import load_tombstones
from storage.records import Feedback


class Added(NamedTuple):
    """What became of some feedback.

    Attributes
    ----------
    rows : int
        Written.
    unknown : int
        Of them, those whose prediction is not in the log (yet).
    forgotten : int
        Left out: the prediction was forgotten.
    """

    rows: int
    unknown: int
    forgotten: int


def add_feedback(connection: duckdb.DuckDBPyConnection, given: Sequence[Feedback]) -> Added:
    """Append feedback inside the caller's transaction, under the number of the newest batch."""
    gone = load_tombstones(connection)
    rows = [one for one in given if not gone.covers(one.prediction_id, None, 0)] if gone else given
    if not rows:
        return Added(0, 0, len(given))
    ((batch,),) = connection.execute(
        "SELECT coalesce(max(value), 0) FROM log_state WHERE name = 'batch'"
    ).fetchall()
    insert(connection, "feedback", feedback_arrays(rows, batch))
    ids = list({one.prediction_id for one in rows})
    known = connection.execute(
        "SELECT id::VARCHAR FROM predictions SEMI JOIN (SELECT unnest($1)::UUID AS id) USING (id)",
        [ids],
    ).fetchall()
    found = {number for (number,) in known}
    unknown = sum(1 for one in rows if one.prediction_id not in found)
    return Added(len(rows), unknown, len(given) - len(rows))
