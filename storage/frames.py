"""Frames of the spool: what the bytes of a segment mean. Nothing here does I/O.

A segment is a header of `HEADER_BYTES` and frames behind it, little endian throughout.

Header: two equal copies of 256 bytes, so that no single damaged byte makes a segment unreadable;
each is magic (8), length u32, crc32 u32, MessagePack of `SegmentHeader`, zeros.

Frame: payload length u32, crc32 u32 of all that follows, type u8, sequence u64, payload. Sequences
go up by one within a segment; their upper 40 bits are a random tag of the segment. Nobody who
fills a payload can guess it, so nothing inside a payload passes for a frame, and the next frame
behind damage is found by searching for the tag.
"""

import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from storage.errors import StorageError
from storage.records import SCHEMA_VERSION, Begin, End, WorkerStats

MAGIC: Final = b"DGSPOOL1"
HEADER_COPY_BYTES: Final = 256
HEADER_BYTES: Final = 2 * HEADER_COPY_BYTES
FRAME_HEAD: Final = struct.Struct("<IIBQ")
FRAME_HEAD_BYTES: Final = FRAME_HEAD.size
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""A longer frame is never written, and a longer length is damage."""

TAG_OFFSET: Final = 12
"""Where in a frame the tag stands."""
SEQUENCE_BITS: Final = 24
MAX_FRAMES: Final = 1 << SEQUENCE_BITS
"""Frames that a segment can number."""

_HEADER_HEAD = struct.Struct("<8sII")
_CRC_START = 8
_INT_MIN = -(1 << 63)
_INT_MAX = (1 << 63) - 1
_LENGTH_CRC = struct.Struct("<II")


class SchemaTooNew(StorageError):
    """A frame was written by a newer program: keep it, this one cannot read it."""


class FrameUndecodable(StorageError):
    """A frame is whole (its CRC is right) but its payload is not what its type promises."""


class FrameKind(IntEnum):
    """The type byte."""

    BEGIN = 1
    END = 2
    STATS = 3
    SEAL = 4
    FEEDBACK = 5


KNOWN_KINDS: Final = frozenset(int(kind) for kind in FrameKind)


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True):
    """Who wrote a segment.

    Attributes
    ----------
    schema_version : int
        `records.SCHEMA_VERSION` of the writer.
    source : str
        `<worker>-<start of the spool, hex>-<pid>`: one writer's segments share it.
    number : int
        From 0, in the order of writing.
    started_at : int
        Microseconds since the epoch at which this segment was opened.
    worker : str
        Name of the worker.
    first_sequence : int
        Sequence of the segment's first frame.
    """

    schema_version: int
    source: str
    number: int
    started_at: int
    worker: str
    first_sequence: int


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """Payload of SEAL, the last frame of a segment that was closed in order."""

    at: int
    frames: int


def new_first_sequence(entropy: bytes) -> int:
    """Make five random bytes a segment's tag and return the sequence of its first frame."""
    tag = int.from_bytes(entropy[:5], "little") & ((1 << 39) - 1)  # SQL's BIGINT has 63 bits.
    return tag << SEQUENCE_BITS


def tag_of(first_sequence: int) -> bytes:
    """Return the five bytes that every frame of the segment has at `TAG_OFFSET`."""
    return (first_sequence >> SEQUENCE_BITS).to_bytes(5, "little")


class Frame(NamedTuple):
    """One whole frame of a segment; `kind` is a plain number if this program does not know it."""

    kind: int
    sequence: int
    payload: bytes
    offset: int
    end_offset: int


class FrameHead(NamedTuple):
    """The fixed part of a frame; `size` is that of the whole frame, in bytes."""

    size: int
    crc: int
    kind: int
    sequence: int


_HEADER_DECODER = msgspec.msgpack.Decoder(SegmentHeader)
_BEGIN_DECODER = msgspec.msgpack.Decoder(Begin)
_END_DECODER = msgspec.msgpack.Decoder(End)
_STATS_DECODER = msgspec.msgpack.Decoder(WorkerStats)
_SEAL_DECODER = msgspec.msgpack.Decoder(Seal)


def encode_header(header: SegmentHeader) -> bytes:
    """Return the `HEADER_BYTES` that open a segment.

    Raises
    ------
    ValueError
        The worker's name is too long to fit.
    """
    payload = msgspec.msgpack.encode(header)
    room = HEADER_COPY_BYTES - _HEADER_HEAD.size
    if len(payload) > room:
        raise ValueError(
            f"the segment header takes {len(payload)} bytes of {room}; shorten the worker's name "
            f"`{header.worker}`"
        )
    copy = _HEADER_HEAD.pack(MAGIC, len(payload), crc32(payload)) + payload
    return copy.ljust(HEADER_COPY_BYTES, b"\0") * 2


def decode_header(data: bytes) -> SegmentHeader | None:
    """Return the header that opens `data`, None if neither copy is sound."""
    for start in (0, HEADER_COPY_BYTES):
        body = start + _HEADER_HEAD.size
        if len(data) < body:
            return None
        magic, length, crc = _HEADER_HEAD.unpack_from(data, start)
        payload = data[body : body + length]
        if magic != MAGIC or len(payload) != length or crc32(payload) != crc:
            continue
        try:
            return _HEADER_DECODER.decode(payload)
        except msgspec.MsgspecError:
            continue
    return None


def frame_head(data: bytes, at: int) -> FrameHead:
    """Read the fixed part of the frame at `at`; there must be `FRAME_HEAD_BYTES` there."""
    length, crc, kind, sequence = FRAME_HEAD.unpack_from(data, at)
    return FrameHead(FRAME_HEAD_BYTES + length, crc, kind, sequence)


def is_sound(data: bytes, at: int, head: FrameHead) -> bool:
    """Whether the frame at `at` lies whole in `data` and its CRC is right."""
    end = at + head.size
    return end <= len(data) and crc32(memoryview(data)[at + _CRC_START : end]) == head.crc


def sound_frames(
    data: bytes, offset: int, first_sequence: int, limit: int, *, start: int = 0
) -> list[Frame]:
    """Return the frames that lie whole and sound in a buffer, up to the first that does not.

    Parameters
    ----------
    data : bytes
        Part of a segment.
    offset : int
        Where in the segment `data` begins.
    first_sequence : int
        Of the segment.
    limit : int
        Place in `data`; reading stops behind the frame that reaches it.
    start : int
        Place in `data` at which the first frame begins.
    """
    frames: list[Frame] = []
    view, have, at = memoryview(data), len(data), start
    while at < limit and at + FRAME_HEAD_BYTES <= have:
        length, crc, kind, sequence = FRAME_HEAD.unpack_from(data, at)
        body = at + FRAME_HEAD_BYTES
        end = body + length
        if end > have or end - at > MAX_FRAME_BYTES:
            break
        numbered = 0 <= sequence - first_sequence < MAX_FRAMES
        if not numbered or crc32(view[at + _CRC_START : end]) != crc:
            break
        frames.append(Frame(kind, sequence, data[body:end], offset + at, offset + end))
        at = end
    return frames


class FrameEncoder:
    """Appends frames to a buffer without copying them, and counts the sequence up."""

    def __init__(self, first_sequence: int) -> None:
        self.next_sequence = first_sequence
        self._encoder = msgspec.msgpack.Encoder()

    def append(self, batch: bytearray, kind: FrameKind, record: msgspec.Struct | bytes) -> int:
        """Append one frame and return the length of `batch` then.

        Parameters
        ----------
        batch : bytearray
            What is to be written in one go.
        kind : FrameKind
            Type of the frame.
        record : msgspec.Struct or bytes
            The payload; bytes are taken as they are.

        Raises
        ------
        ValueError
            The frame would be longer than `MAX_FRAME_BYTES`, or text is not encodable.
        OverflowError
            An integer has more than 64 bits. After either, `batch` is as before.
        """
        start = len(batch)
        body = start + FRAME_HEAD_BYTES
        if isinstance(record, bytes):
            batch += bytes(FRAME_HEAD_BYTES)
            batch += record
        else:
            try:
                self._encoder.encode_into(record, batch, body)
            except (ValueError, OverflowError):
                del batch[start:]
                raise
        end = len(batch)
        if end - start > MAX_FRAME_BYTES:
            del batch[start:]
            raise ValueError(f"a frame of {end - start} bytes; the limit is {MAX_FRAME_BYTES}")
        FRAME_HEAD.pack_into(batch, start, end - body, 0, kind, self.next_sequence)
        crc = crc32(memoryview(batch)[start + _CRC_START :])
        _LENGTH_CRC.pack_into(batch, start, end - body, crc)
        self.next_sequence += 1
        return end


def encodable(value: Any) -> Any:
    """Return a copy of a record that MessagePack can hold, whatever clients and upstreams said.

    Text loses its lone surrogates (to `?`), integers are brought into 64 bits.
    """
    if isinstance(value, msgspec.Struct):
        fields = {name: encodable(getattr(value, name)) for name in value.__struct_fields__}
        return type(value)(**fields)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(_INT_MIN, min(_INT_MAX, value))
    if isinstance(value, tuple):
        return tuple(encodable(item) for item in value)
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    return value


def _check_version(schema_version: int) -> None:
    if schema_version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"schema version {schema_version} is newer than {SCHEMA_VERSION}, the newest that this "
            "program reads; upgrade driftgate, the segment is kept until then"
        )


def decode_begin(payload: bytes, schema_version: int = SCHEMA_VERSION) -> Begin:
    """Return the record of a BEGIN frame.

    Raises
    ------
    SchemaTooNew
        A newer program wrote it.
    FrameUndecodable
        It is no such record.
    """
    _check_version(schema_version)
    try:
        return _BEGIN_DECODER.decode(payload)
    except msgspec.MsgspecError as error:
        raise FrameUndecodable(f"BEGIN frame: {error}") from error


def decode_end(payload: bytes, schema_version: int = SCHEMA_VERSION) -> End:
    """Return the record of an END frame; raises as `decode_begin`."""
    _check_version(schema_version)
    try:
        return _END_DECODER.decode(payload)
    except msgspec.MsgspecError as error:
        raise FrameUndecodable(f"END frame: {error}") from error


def decode_stats(payload: bytes, schema_version: int = SCHEMA_VERSION) -> WorkerStats:
    """Return the record of a STATS frame; raises as `decode_begin`."""
    _check_version(schema_version)
    try:
        return _STATS_DECODER.decode(payload)
    except msgspec.MsgspecError as error:
        raise FrameUndecodable(f"STATS frame: {error}") from error


def decode_seal(payload: bytes, schema_version: int = SCHEMA_VERSION) -> Seal:
    """Return the record of a SEAL frame; raises as `decode_begin`."""
    _check_version(schema_version)
    try:
        return _SEAL_DECODER.decode(payload)
    except msgspec.MsgspecError as error:
        raise FrameUndecodable(f"SEAL frame: {error}") from error


def decode(
    frame: Frame, schema_version: int = SCHEMA_VERSION
) -> Begin | End | WorkerStats | Seal | bytes:
    """Return what a frame holds; the payload as it is for FEEDBACK, whose form is its reader's.

    Raises
    ------
    SchemaTooNew
        A newer program wrote it, or its type is unknown: keep it and report it.
    FrameUndecodable
        The payload is not what its type promises.
    """
    match frame.kind:
        case FrameKind.BEGIN:
            return decode_begin(frame.payload, schema_version)
        case FrameKind.END:
            return decode_end(frame.payload, schema_version)
        case FrameKind.STATS:
            return decode_stats(frame.payload, schema_version)
        case FrameKind.SEAL:
            return decode_seal(frame.payload, schema_version)
        case FrameKind.FEEDBACK:
            _check_version(schema_version)
            return frame.payload
        case _:
            raise SchemaTooNew(f"frame {frame.sequence} is of the unknown type {frame.kind}")
