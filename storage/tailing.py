"""Reading the spool from the watermarks on: what one batch takes, and when a source is over."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from storage.frames import (
    HEADER_BYTES,
    Frame,
    FrameKind,
    FrameUndecodable,
    decode_begin,
    decode_end,
    decode_stats,
)
from storage.records import SCHEMA_VERSION, End, Feedback, WorkerStats
from storage.rows import Place, interrupted
from storage.segments import (
    SegmentInfo,
    SegmentRead,
    give_back,
    read_frames,
    writer_is_gone,
)
from storage.times import to_timestamp
from storage.watermarks import Pending, Watermark
from storage.writer import Loss


class _Begun(msgspec.Struct, array_like=True):
    """The head of a BEGIN: all that is wanted of one whose END is read next."""

    id: str


_FEEDBACK = msgspec.msgpack.Decoder(Feedback)
_BEGUN = msgspec.msgpack.Decoder(_Begun)
_FIRST_READ_BYTES = 256 * 1024
_READ_BYTES = 4 * 1024 * 1024


class BatchLimits(NamedTuple):
    """How much one transaction takes; interrupted requests come on top."""

    records: int = 10_000
    bytes: int = 32 * 1024 * 1024


DEFAULT_LIMITS = BatchLimits()


@dataclass(slots=True)
class Harvest:
    """What was read from the spool for one batch.

    `told` has the frames of each source whose statistics are known already: they are not told
    again when frames are read again.
    """

    limits: BatchLimits = DEFAULT_LIMITS
    ends: list[End] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    stats: list[WorkerStats] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    marks: dict[str, Watermark] = field(default_factory=dict)
    frames: int = 0
    bytes: int = 0
    interrupted: int = 0
    told: Mapping[str, int] = field(default_factory=dict)

    def leave_out(self, covers: Callable[[str, str | None, int], bool]) -> None:
        """Drop the records and feedback that were forgotten, given id, user key and start."""
        kept = [
            not covers(end.prediction.id, end.prediction.user_key, end.prediction.started_at)
            for end in self.ends
        ]
        self.ends = list(compress(self.ends, kept))
        self.places = list(compress(self.places, kept))
        self.feedback = [s for s in self.feedback if not covers(s.prediction_id, None, s.given_at)]

    @property
    def read_bytes(self) -> int:
        """How much to read next: about what there is room for, or it is read twice."""
        if not self.ends:
            return _FIRST_READ_BYTES
        left = self.limits.records - len(self.ends)
        return min(_READ_BYTES, left * self.bytes // len(self.ends) + 1)

    @property
    def has_room(self) -> bool:
        """True until the batch is full."""
        return len(self.ends) < self.limits.records and self.bytes < self.limits.bytes


class SourceReader:
    """Reads one source on from its watermark into a harvest.

    Parameters
    ----------
    mark : Watermark
        Moved on while reading; hand in a copy.
    segments : sequence of SegmentInfo
        The source's segments, by number.
    relist : callable
        Lists the source's segments anew.
    pass_over : bool
        Lose a segment that cannot be read, if others follow it.
    """

    def __init__(
        self,
        mark: Watermark,
        segments: Sequence[SegmentInfo],
        harvest: Harvest,
        *,
        relist: Callable[[], Sequence[SegmentInfo]],
        pass_over: bool = False,
    ) -> None:
        self._mark = mark
        self._segments = segments
        self._harvest = harvest
        self._relist = relist
        self._pass_over = pass_over
        self._last_sequence: int | None = None
        # Most are closed within the batch that opens them, and need not be decoded.
        self._begun: dict[str, tuple[SegmentInfo, Frame]] = {}

    def read(self) -> None:
        """Read until the batch is full or the source has no more.

        A segment is over when it is sealed, or when its writer was gone before it was read to
        its end; asked the other way round, what was written in between would be lost.

        Raises
        ------
        OSError
            A segment cannot be read; what was read before it is in the harvest.
        """
        try:
            self._read_on()
        finally:
            self._keep_begun()

    def _read_on(self) -> None:
        gone = False
        while self._harvest.has_room and not self._mark.finished:
            segment = self._current()
            if segment is None or segment.schema_version > SCHEMA_VERSION:
                return
            found = self._read_frames(segment)
            if found is None:
                continue
            whole = self._take_all(segment, found)
            if not whole or found.state == "more":
                continue
            if found.state == "sealed" or (gone and not found.frames):
                self._end_segment(segment, found)
                gone = False
            elif not gone:
                gone = writer_is_gone(segment.path)
                if not gone:
                    return

    def _read_frames(self, segment: SegmentInfo) -> SegmentRead | None:
        try:
            return read_frames(segment.path, self._mark.byte_offset, self._harvest.read_bytes)
        except FileNotFoundError:
            raise
        except OSError:
            if not self._pass_over or segment.number == self._segments[-1].number:
                raise
            size = max(0, segment.size_bytes - self._mark.byte_offset)
            self._lose("unreadable", frames=0, size=size)
            self._mark.segment, self._mark.byte_offset = segment.number + 1, 0
            self._last_sequence = None
            return None

    def _current(self) -> SegmentInfo | None:
        for segment in self._segments:
            if segment.number >= self._mark.segment:
                if segment.number > self._mark.segment:
                    self._mark.segment, self._mark.byte_offset = segment.number, 0
                    self._last_sequence = None
                return segment
        return None

    def _end_segment(self, segment: SegmentInfo, found: SegmentRead) -> None:
        if found.unread_bytes:
            kind = "torn" if found.state == "tail" else "damaged"
            self._lose(kind, frames=0, size=found.unread_bytes)
        if found.state != "sealed":
            with suppress(OSError):
                give_back(segment.path)
        # A writer opens its next segment before it lets go of the last, so list once more now.
        self._segments = [s for s in self._relist() if s.number > segment.number]
        if self._segments:
            self._mark.segment, self._mark.byte_offset = segment.number + 1, 0
            self._last_sequence = None
            return
        self._keep_begun()
        self._mark.finished = True
        for begin, number, offset in map(astuple, self._mark.pending.values()):
            known = None if number is None else self._mark.source
            self._harvest.ends.append(interrupted(begin))
            self._harvest.places.append(Place(known, number, offset))
            self._harvest.interrupted += 1
        self._mark.pending = {}

    def _take_all(self, segment: SegmentInfo, found: SegmentRead) -> bool:
        for frame in found.frames:
            if not self._harvest.has_room:
                return False
            self._note_gap(frame)
            self._take(segment, frame)
            self._mark.byte_offset = frame.end_offset
            self._mark.frames += 1
            self._harvest.frames += 1
            self._harvest.bytes += frame.end_offset - frame.offset
        return True

    def _note_gap(self, frame: Frame) -> None:
        skipped = frame.offset - max(self._mark.byte_offset, HEADER_BYTES)
        if skipped > 0:
            last = self._last_sequence
            lost = 0 if last is None else frame.sequence - last - 1
            self._lose("damaged", frames=lost, size=skipped)
        self._last_sequence = frame.sequence

    def _take(self, segment: SegmentInfo, frame: Frame) -> None:
        harvest, pending = self._harvest, self._mark.pending
        try:
            match frame.kind:
                case FrameKind.END:
                    end = decode_end(frame.payload, segment.schema_version)
                    if self._begun.pop(end.prediction.id, None) is None:
                        pending.pop(end.prediction.id, None)
                    harvest.ends.append(end)
                    harvest.places.append(Place(segment.source, segment.number, frame.offset))
                case FrameKind.BEGIN:
                    self._begun[_begun_id(frame.payload)] = (segment, frame)
                case FrameKind.STATS:
                    stats = decode_stats(frame.payload, segment.schema_version)
                    if self._mark.frames >= harvest.told.get(self._mark.source, 0):
                        harvest.stats.append(stats)
                case FrameKind.FEEDBACK:
                    harvest.feedback.append(_decode_feedback(frame.payload))
                case FrameKind.SEAL:
                    pass
                case _:
                    raise FrameUndecodable(f"frame type {frame.kind} is unknown")
        except FrameUndecodable:
            size = frame.end_offset - frame.offset
            self._lose("undecodable", frames=1, size=size)

    def _keep_begun(self) -> None:
        for identity, (segment, frame) in self._begun.items():
            try:
                begin = decode_begin(frame.payload, segment.schema_version)
            except FrameUndecodable:
                self._lose("undecodable", frames=1, size=frame.end_offset - frame.offset)
            else:
                self._mark.pending[identity] = Pending(begin, segment.number, frame.offset)
        self._begun = {}

    def _lose(self, kind: str, *, frames: int, size: int) -> None:
        mark = self._mark
        self._harvest.losses.append(
            Loss(mark.source, mark.segment, mark.byte_offset, kind, frames, size)
        )


def _begun_id(payload: bytes) -> str:
    try:
        return _BEGUN.decode(payload).id
    except msgspec.MsgspecError as error:
        raise FrameUndecodable(f"BEGIN frame: {error}") from error


def _decode_feedback(payload: bytes) -> Feedback:
    try:
        said = _FEEDBACK.decode(payload)
        identity = str(uuid.UUID(said.prediction_id))
        to_timestamp(said.given_at)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise FrameUndecodable(f"FEEDBACK frame: {error}") from error
    # Python reads more forms of an id than the database does.
    return msgspec.structs.replace(said, prediction_id=identity)
