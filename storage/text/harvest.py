"""Text out of the spool's segments: of committed facts, each once, without decoding the rest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

from storage.frames import HEADER_BYTES, Frame, FrameKind
from storage.records import Payload
from storage.segments import SegmentInfo, list_segments, read_frames
from storage.text.chunk import Chunk, Span, TextRow
from storage.text.registry import Mark, load_marks
from storage.times import to_timestamp
from storage.writer import Loss

_READ_BYTES = 4 << 20


class _Facts(msgspec.Struct, array_like=True):
    id: str
    started_at: int


class _TextOfEnd(msgspec.Struct, array_like=True):
    """The part of an END that text is about."""

    prediction: _Facts
    attempts: msgspec.Raw
    payload: Payload | None = None


_END = msgspec.msgpack.Decoder(_TextOfEnd)


class FactsMark(NamedTuple):
    """How far the facts of a source are in the database."""

    segment: int
    byte_offset: int
    finished: bool


class Standing(NamedTuple):
    """One look at how far facts and text are, all of one moment.

    Attributes
    ----------
    facts : dict
        Source to how far its facts are in the database.
    text : dict
        Source to how far its text is in files.
    batch : int
        Of the newest facts.
    """

    facts: Mapping[str, FactsMark]
    text: Mapping[str, Mark]
    batch: int

    def behind(self) -> list[str]:
        """Return the sources whose text is behind their facts."""
        return [
            source
            for source, mark in self.facts.items()
            if (self.text.get(source) or Mark(0, 0)).place < _goal(mark)
        ]


def _goal(mark: FactsMark) -> tuple[int, int]:
    return (mark.segment + 1, 0) if mark.finished else (mark.segment, mark.byte_offset)


def load_standing(connection: duckdb.DuckDBPyConnection) -> Standing:
    """Read all marks in one snapshot."""
    connection.begin()
    try:
        facts = connection.execute(
            "SELECT source, segment, byte_offset, finished FROM watermarks"
        ).fetchall()
        batch = connection.execute("SELECT value FROM log_state WHERE name = 'batch'").fetchone()
        return Standing(
            {source: FactsMark(*mark) for source, *mark in facts},
            load_marks(connection),
            int(batch[0]) if batch else 0,
        )
    finally:
        connection.rollback()


class Harvester:
    """Reads one chunk of text on from the marks of all sources.

    Attributes
    ----------
    chunk : Chunk
        What was read.
    marks : dict
        Source to how far its text will be in files once the chunk is.
    losses : list of Loss
        Text whose segment was gone or damaged before it was read.
    full : bool
        There may be more.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        spool_dir: Path,
        standing: Standing,
        *,
        chunk_bytes: int,
    ) -> None:
        self.chunk = Chunk()
        self.marks: dict[str, Mark] = {}
        self.losses: list[Loss] = []
        self._connection = connection
        self._standing = standing
        self._chunk_bytes = chunk_bytes
        self._segments: dict[str, list[SegmentInfo]] = {}
        for segment in list_segments(spool_dir):
            self._segments.setdefault(segment.source, []).append(segment)

    @property
    def full(self) -> bool:
        """True when the chunk has reached its size."""
        return self.chunk.text_bytes >= self._chunk_bytes

    def gone_sources(self) -> list[str]:
        """Return sources that cannot be read again: neither segments nor marks of facts are left.

        While a lost database is filled anew, a source may have its segments and no mark yet.
        """
        known = self._standing.facts.keys() | self._segments.keys()
        return [source for source in self._standing.text if source not in known]

    def read(self) -> None:
        """Read until the chunk is full or the text of all facts is in it."""
        for source in self._standing.behind():
            if self.full:
                return
            before = self._standing.text.get(source) or Mark(0, 0)
            segment, offset = self._read_source(source, before)
            if (segment, offset) != before.place:
                caught_up = (segment, offset) >= _goal(self._standing.facts[source])
                batch = self._standing.batch if caught_up else before.batch
                self.marks[source] = Mark(segment, offset, batch)
                self.chunk.spans.append(Span(source, *before.place, segment, offset))

    def _read_source(self, source: str, before: Mark) -> tuple[int, int]:
        facts = self._standing.facts[source]
        goal = _goal(facts)
        at = before.place
        for segment in self._segments.get(source, ()):
            if segment.number < at[0] or (segment.number, 0) >= goal or self.full:
                continue
            at = self._pass_missing(source, at, (segment.number, 0), before.batch)
            wanted = self._wanted(source, at, before.batch)
            until = goal[1] if segment.number == goal[0] else None
            try:
                at = self._read_segment(segment, at[1], until, wanted)
            except FileNotFoundError:
                at = self._pass_missing(source, at, (segment.number + 1, 0), before.batch)
        if self.full:
            return at
        return self._pass_missing(source, at, goal, before.batch)

    def _read_segment(
        self, segment: SegmentInfo, offset: int, until: int | None, wanted: set[int]
    ) -> tuple[int, int]:
        while not self.full:
            found = read_frames(segment.path, offset, _READ_BYTES)
            for frame in found.frames:
                if (until is not None and frame.end_offset > until) or self.full:
                    return segment.number, offset
                if frame.offset in wanted:
                    wanted.discard(frame.offset)
                    self._take(segment, frame)
                offset = frame.end_offset
            if until is not None and offset >= until:
                return segment.number, offset
            if found.state != "more":
                # Of facts that are in the database, though their frames are not here any more.
                self._lose(segment.source, (segment.number, offset), len(wanted))
                ended = until is None
                return (segment.number + 1, 0) if ended else (segment.number, until or offset)
        return segment.number, offset

    def _take(self, segment: SegmentInfo, frame: Frame) -> None:
        place = (segment.number, frame.offset)
        try:
            end = _END.decode(frame.payload) if frame.kind == FrameKind.END else None
        except msgspec.MsgspecError:
            end = None
        if end is None or end.payload is None:
            self._lose(segment.source, place, 1)
            return
        facts = end.prediction
        self.chunk.add(TextRow(facts.id, facts.started_at, end.payload, segment.source, *place))

    def _wanted(self, source: str, at: tuple[int, int], batch: int) -> set[int]:
        """Return where the frames of a segment begin whose facts are in the database."""
        found = self._connection.execute(
            "SELECT byte_offset FROM predictions WHERE batch > $1 AND batch <= $2 AND source = $3"
            " AND segment = $4 AND byte_offset >= $5 AND has_payload",
            [batch, self._standing.batch, source, *at],
        ).fetchnumpy()
        return set(found["byte_offset"].tolist())

    def _pass_missing(
        self, source: str, at: tuple[int, int], to: tuple[int, int], batch: int
    ) -> tuple[int, int]:
        """Go on behind segments that are not there, counting the text that was in them."""
        if to <= at:
            return at
        row = self._connection.execute(
            "SELECT count(*) FROM predictions WHERE batch > $1 AND batch <= $2 AND source = $3"
            " AND has_payload AND (segment > $4 OR segment = $4 AND byte_offset >= $5)"
            " AND (segment < $6 OR segment = $6 AND byte_offset < $7)",
            [batch, self._standing.batch, source, *at, *to],
        ).fetchone()
        self._lose(source, at, int(row[0]) if row else 0)
        return to

    def _lose(self, source: str, at: tuple[int, int], frames: int) -> None:
        if frames:
            self.losses.append(Loss(source, *at, "text", frames, 0))


def save_losses(connection: duckdb.DuckDBPyConnection, losses: Sequence[Loss], now_us: int) -> None:
    """Count lost text, inside the caller's transaction."""
    for loss in losses:
        connection.execute(
            "INSERT INTO spool_losses VALUES (?, ?, ?, ?, ?, ?, ?)", [to_timestamp(now_us), *loss]
        )


def unarchived_bytes(spool_dir: Path, standing: Standing) -> int:
    """Return the bytes of the spool behind the text marks, as far as facts are."""
    total = 0
    for segment in list_segments(spool_dir):
        facts = standing.facts.get(segment.source)
        if facts is None:
            continue
        goal = _goal(facts)
        done = (standing.text.get(segment.source) or Mark(0, 0)).place
        end = goal[1] if segment.number == goal[0] else segment.size_bytes
        start = done[1] if segment.number == done[0] else HEADER_BYTES
        if done[0] <= segment.number and (segment.number, 0) < goal:
            total += max(0, end - start)
    return total
