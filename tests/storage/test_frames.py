import msgspec
import pytest

from storage.frames import (
    FRAME_HEAD_BYTES,
    HEADER_BYTES,
    HEADER_COPY_BYTES,
    MAX_FRAME_BYTES,
    Frame,
    FrameEncoder,
    FrameKind,
    FrameUndecodable,
    SchemaTooNew,
    Seal,
    SegmentHeader,
    decode,
    decode_begin,
    decode_end,
    decode_header,
    decode_stats,
    encodable,
    encode_header,
    frame_head,
    is_sound,
)
from storage.records import SCHEMA_VERSION, Attempt, Begin, End, Payload, Prediction, WorkerStats

BEGIN = Begin("i", 5, "chat", "a", "u", "m", "openai", "chat", "t")
PREDICTION = Prediction(
    "i", 5, "chat", "a", "u", "m", "openai", "chat", "t", 200, 0.5, 0.25, 0.25, tags=("x",)
)
END = End(PREDICTION, (Attempt(1, "u", 6, 0.25, 200),), Payload(b"\x00\xff", b"answer"))
STATS = WorkerStats("w0", 7, breakers={"u": "open"}, pools={"u": (1, 2)})
HEADER = SegmentHeader(SCHEMA_VERSION, "w0-05-1", 3, 9, "w0", 77)


def frame_of(kind: FrameKind, record: msgspec.Struct | bytes) -> Frame:
    """Encode a record alone and read its head."""
    batch = bytearray()
    end = FrameEncoder(42).append(batch, kind, record)
    head = frame_head(bytes(batch), 0)
    assert is_sound(bytes(batch), 0, head)
    return Frame(head.kind, head.sequence, bytes(batch[FRAME_HEAD_BYTES:]), 0, end)


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        (FrameKind.BEGIN, BEGIN),
        (FrameKind.END, END),
        (FrameKind.STATS, STATS),
        (FrameKind.SEAL, Seal(1, 2)),
        (FrameKind.FEEDBACK, b"as it is"),
    ],
)
def test_what_is_encoded_is_decoded(kind: FrameKind, record: msgspec.Struct | bytes) -> None:
    """Every type of frame gives back its record."""
    frame = frame_of(kind, record)
    assert (frame.kind, frame.sequence) == (kind, 42)
    assert decode(frame, SCHEMA_VERSION) == record


def test_the_decoders_of_the_seam_give_their_records() -> None:
    """Database code decodes payloads without a frame."""
    assert decode_begin(frame_of(FrameKind.BEGIN, BEGIN).payload, SCHEMA_VERSION) == BEGIN
    assert decode_end(frame_of(FrameKind.END, END).payload, SCHEMA_VERSION) == END
    assert decode_stats(frame_of(FrameKind.STATS, STATS).payload, SCHEMA_VERSION) == STATS


def test_a_frame_of_a_program_with_more_fields_is_read() -> None:
    """Appended fields of a later program of the same schema version are passed over."""
    longer = msgspec.msgpack.encode([*msgspec.structs.astuple(BEGIN), "new", {"field": 1}])
    assert decode_begin(longer) == BEGIN


def test_a_frame_of_a_program_with_fewer_fields_is_read() -> None:
    """Fields that an earlier program did not have take their defaults."""
    shorter = msgspec.msgpack.encode(msgspec.structs.astuple(BEGIN)[:9])
    assert decode_begin(shorter) == BEGIN


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_a_newer_schema_is_reported_not_guessed(kind: int) -> None:
    """The error says which version it is, so that the segment is kept for a newer program."""
    with pytest.raises(SchemaTooNew, match=str(SCHEMA_VERSION + 1)):
        decode(Frame(kind, 1, b"\x90", 0, 18), SCHEMA_VERSION + 1)


def test_an_unknown_type_is_reported_as_newer() -> None:
    """A type that this program does not know is kept like a newer schema."""
    with pytest.raises(SchemaTooNew, match="unknown type 99"):
        decode(Frame(99, 1, b"", 0, 17))


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_payload_of_another_form_is_undecodable(kind: int) -> None:
    """A whole frame with the wrong content names its type."""
    with pytest.raises(FrameUndecodable, match=FrameKind(kind).name):
        decode(Frame(kind, 1, msgspec.msgpack.encode("text"), 0, 20))


def test_sequences_count_up_and_frames_follow_each_other() -> None:
    """Ends returned are the borders of the frames."""
    batch = bytearray()
    encoder = FrameEncoder(10)
    ends = [encoder.append(batch, FrameKind.BEGIN, BEGIN) for _ in range(3)]
    starts = [0, *ends[:-1]]
    heads = [frame_head(bytes(batch), start) for start in starts]
    assert [head.sequence for head in heads] == [10, 11, 12]
    assert [start + head.size for start, head in zip(starts, heads, strict=True)] == ends


def test_a_frame_beyond_the_limit_leaves_the_batch_as_it_was() -> None:
    """What no reader would accept is not written."""
    batch = bytearray(b"before")
    encoder = FrameEncoder(10)
    with pytest.raises(ValueError, match=str(MAX_FRAME_BYTES)):
        encoder.append(batch, FrameKind.FEEDBACK, bytes(MAX_FRAME_BYTES))
    assert (bytes(batch), encoder.next_sequence) == (b"before", 10)


@pytest.mark.parametrize(
    "record",
    [
        msgspec.structs.replace(BEGIN, model_asked="\ud800"),
        msgspec.structs.replace(BEGIN, request_bytes=1 << 80),
    ],
)
def test_what_has_no_encoding_leaves_the_batch_as_it_was(record: Begin) -> None:
    """Lone surrogates and huge integers are refused, and `encodable` makes them fit."""
    batch = bytearray(b"before")
    encoder = FrameEncoder(10)
    with pytest.raises((ValueError, OverflowError)):
        encoder.append(batch, FrameKind.BEGIN, record)
    assert (bytes(batch), encoder.next_sequence) == (b"before", 10)
    assert encoder.append(batch, FrameKind.BEGIN, encodable(record)) == len(batch)


def test_encodable_changes_nothing_that_fits() -> None:
    """Records keep every value and type."""
    assert encodable(END) == END
    assert encodable(STATS) == STATS


def test_a_header_survives_any_one_damaged_byte() -> None:
    """Both copies must be hit before a segment becomes unreadable."""
    data = encode_header(HEADER)
    assert len(data) == HEADER_BYTES
    for at in range(HEADER_BYTES):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        assert decode_header(bytes(damaged)) == HEADER


def test_a_header_with_two_damaged_copies_is_none() -> None:
    """No header is guessed."""
    damaged = bytearray(encode_header(HEADER))
    damaged[20] ^= 1
    damaged[HEADER_COPY_BYTES + 20] ^= 1
    assert decode_header(bytes(damaged)) is None


def test_a_worker_name_beyond_the_header_is_refused() -> None:
    """The error names the worker."""
    with pytest.raises(ValueError, match="shorten the worker's name"):
        encode_header(msgspec.structs.replace(HEADER, worker="w" * 300))
