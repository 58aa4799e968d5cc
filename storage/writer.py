"""One batch, one transaction: rows, roll-up deltas, losses and how far the spool was read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

import duckdb
from msgspec.structs import replace

from storage.columns import attempt_arrays, feedback_arrays, insert, prediction_arrays
from storage.features.schema import Schema
from storage.features.writing import insert_inputs, make_room
from storage.records import End, Feedback, Prediction, Signals
from storage.rollups.batch import add_batch
from storage.rows import NOWHERE, Place, Row
from storage.times import to_timestamp
from storage.watermarks import Watermark, save_watermark

UNFIT = (duckdb.DataError, duckdb.ConstraintException, OverflowError)
"""What a value raises that no column takes; anything else is the database's fault."""

_TOKENS = ("prompt_tokens", "response_tokens", "cached_tokens", "reasoning_tokens")
_BIGINT_MAX = (1 << 63) - 1


class Loss(NamedTuple):
    """Something of the spool that is not in the database: a row of `spool_losses`.

    Attributes
    ----------
    kind : str
        `torn`: an incomplete last frame; `damaged`: bytes skipped; `undecodable`: a frame that
        is not what its type says; `unreadable`: a segment that the disk did not give; `trimmed`:
        a record without the numbers that fit no column; `rejected`: a record that fits no table;
        `unfit_features`: a record without the inputs that fit no schema.
    frames : int
        Frames known to be lost; 0 where nobody can tell.
    """

    source: str
    segment: int
    byte_offset: int
    kind: str
    frames: int
    bytes: int


class Batch(NamedTuple):
    """What one transaction writes.

    Attributes
    ----------
    ends, signals : sequence
        Records and what can be watched of each, by the same index.
    marks : sequence of Watermark
        The sources that were read, moved on.
    places : sequence of Place
        Where each record stands in the spool; empty where none came from it.
    schemas : mapping of str to Schema
        Where the inputs of its models go; `append_batch` looks it up.
    """

    ends: Sequence[End]
    signals: Sequence[Signals]
    feedback: Sequence[Feedback]
    losses: Sequence[Loss]
    marks: Sequence[Watermark]
    places: Sequence[Place] = ()
    schemas: Mapping[str, Schema] = MappingProxyType({})


def write_batch(connection: duckdb.DuckDBPyConnection, batch: Batch, *, now_us: int) -> None:
    """Commit a batch, or nothing of it.

    Raises
    ------
    duckdb.Error
        Of the commit: whether the batch is in must be read from the watermarks.
    OverflowError
        A record carries a time that is none.
    """
    connection.begin()
    try:
        _append_facts(connection, batch)
        if batch.losses:
            _append(connection, "spool_losses", ((to_timestamp(now_us), *x) for x in batch.losses))
        for mark in batch.marks:
            save_watermark(connection, mark)
        connection.commit()
    except (duckdb.Error, OverflowError):
        with suppress(duckdb.Error):
            connection.rollback()
        raise


def append_batch(connection: duckdb.DuckDBPyConnection, batch: Batch, *, now_us: int) -> Batch:
    """Commit a batch, without what fits no table; return what was written.

    Raises
    ------
    duckdb.Error
        As `write_batch`.
    """
    room = make_room(connection, batch.ends, batch.signals, now_us)
    batch = batch._replace(schemas=room.schemas)
    if room.unfit:
        places = batch.places or [NOWHERE] * len(batch.ends)
        lost = _losses("unfit_features", [places[i] for i in sorted(room.unfit)])
        batch = batch._replace(losses=[*batch.losses, *lost])
    try:
        write_batch(connection, batch, now_us=now_us)
    except UNFIT:
        batch = fitting(connection, batch)
        write_batch(connection, batch, now_us=now_us)
    return batch


def fitting(connection: duckdb.DuckDBPyConnection, batch: Batch) -> Batch:
    """Return a batch that can be written, after one that could not.

    Numbers that fit no column come from upstreams (a token count of 2**63), in as many records as
    an upstream likes: they are dropped at sight (`trimmed`). What is still refused is looked for
    and left out (`rejected`).
    """
    places = batch.places or [NOWHERE] * len(batch.ends)
    trimmed = frozenset(i for i, end in enumerate(batch.ends) if _is_absurd(end.prediction))
    ends = [_trimmed(end) if i in trimmed else end for i, end in enumerate(batch.ends)]
    whole = batch._replace(ends=ends, places=places)
    rejected = _unfit_records(connection, whole)
    kept = [i for i in range(len(ends)) if i not in rejected]
    return whole._replace(
        ends=[ends[i] for i in kept],
        signals=[batch.signals[i] for i in kept],
        places=[places[i] for i in kept],
        losses=[
            *batch.losses,
            *_losses("rejected", [places[i] for i in sorted(rejected)]),
            *_losses("trimmed", [places[i] for i in sorted(trimmed - rejected)]),
        ],
    )


def _losses(kind: str, places: Iterable[Place]) -> Iterator[Loss]:
    """Yield one loss for each segment, at the first of its records."""
    by_segment: dict[tuple[str, int], list[int]] = {}
    for place in places:
        segment = (place.source or "", place.segment or 0)
        by_segment.setdefault(segment, []).append(place.byte_offset or 0)
    for (source, number), offsets in by_segment.items():
        yield Loss(source, number, min(offsets), kind, len(offsets), 0)


def _is_absurd(prediction: Prediction) -> bool:
    return any((getattr(prediction, name) or 0) > _BIGINT_MAX for name in _TOKENS)


def _trimmed(end: End) -> End:
    unknown = dict.fromkeys(_TOKENS)
    return replace(end, prediction=replace(end.prediction, **unknown))


def _unfit_records(connection: duckdb.DuckDBPyConnection, batch: Batch) -> frozenset[int]:
    found: set[int] = set()
    spans = [range(len(batch.ends))]
    while spans:
        span = spans.pop()
        if not span or _fits(connection, batch, span):
            continue
        if len(span) == 1:
            found.add(span[0])
            continue
        middle = len(span) // 2
        spans += [span[:middle], span[middle:]]
    return frozenset(found)


def _fits(connection: duckdb.DuckDBPyConnection, batch: Batch, span: range) -> bool:
    part = slice(span.start, span.stop)
    connection.begin()
    try:
        _append_facts(
            connection,
            batch._replace(
                ends=batch.ends[part],
                signals=batch.signals[part],
                places=batch.places[part],
                feedback=(),
            ),
        )
    except UNFIT:
        return False
    else:
        return True
    finally:
        connection.rollback()


def _append_facts(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    number = next_batch(connection)
    if batch.ends:
        places = batch.places or [NOWHERE] * len(batch.ends)
        facts = prediction_arrays(batch.ends, batch.signals, places, number)
        insert(connection, "predictions", facts)
    insert(connection, "attempts", attempt_arrays(batch.ends, number))
    insert(connection, "feedback", feedback_arrays(batch.feedback, number))
    if batch.ends:
        inputs = insert_inputs(connection, batch.ends, batch.signals, number, batch.schemas)
        add_batch(connection, number, inputs)


def next_batch(connection: duckdb.DuckDBPyConnection) -> int:
    """Take the number of a new batch inside the caller's transaction."""
    # A commit with an UPDATE in it keeps checkpoints away as long as an older reader reads.
    rows = connection.execute(
        "DELETE FROM log_state WHERE name = 'batch' RETURNING value"
    ).fetchall()
    if not rows:
        rows = connection.execute("SELECT coalesce(max(batch), 0) FROM predictions").fetchall()
    number = int(rows[0][0]) + 1
    connection.execute("INSERT INTO log_state VALUES ('batch', ?)", [number])
    return number


def _append(connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Row]) -> None:
    with connection.appender(table) as appender:
        appender.append_rows(rows)
