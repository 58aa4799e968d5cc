import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.websocket_reader import MessageReader, reader_of

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
DEFLATE = [(b"Sec-WebSocket-Extensions", b"permessage-deflate; server_max_window_bits=12")]


def frame(opcode: int, payload: bytes, *, fin: bool = True, bits: int = 0) -> bytes:
    """Return a frame as servers send it: not masked."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65_536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([opcode | (0x80 if fin else 0) | bits]) + length + payload


def deflated(compressor: "zlib._Compress", text: bytes) -> bytes:
    """Return a text message in one compressed frame."""
    payload = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, payload.removesuffix(b"\x00\x00\xff\xff"), bits=0x40)


def fed(reader: MessageReader, data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the messages of bytes that arrive in pieces."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    return [message for piece in pieces for message in reader.feed(piece)]


@given(
    texts=st.lists(st.binary(max_size=300), max_size=4),
    parts=st.integers(1, 4),
    compressed=st.booleans(),
    cuts=st.lists(st.integers(0, 5_000), max_size=8),
)
def test_messages_are_found_wherever_they_are_cut(
    texts: list[bytes], parts: int, *, compressed: bool, cuts: list[int]
) -> None:
    """Texts come out whole: in fragments, between pings and binary, compressed, cut anywhere."""
    compressor = zlib.compressobj(wbits=-12)
    data = b""
    for text in texts:
        if compressed:
            data += deflated(compressor, text)
        else:
            step = len(text) // parts + 1
            pieces = [text[at : at + step] for at in range(0, len(text) + 1, step)]
            for number, piece in enumerate(pieces):
                last = number == len(pieces) - 1
                data += frame(0 if number else TEXT, piece, fin=last) + frame(PING, b"?")
        data += frame(BINARY, b"\x00" * 200)
    reader = reader_of(DEFLATE if compressed else [])
    assert reader is not None
    assert fed(reader, data + frame(CLOSE, b"\x03\xe8"), cuts) == texts
    assert (reader.lost, reader.closed) == (False, True)


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 100_000])
def test_every_form_of_length(size: int) -> None:
    """A message of any length within the bound is read."""
    reader = MessageReader(max_bytes=100_000)
    assert reader.feed(frame(TEXT, b"x" * size)) == [b"x" * size]


def test_long_messages_are_passed_over() -> None:
    """A message beyond the bound is not kept; the next one is read."""
    reader = MessageReader(max_bytes=10)
    data = frame(TEXT, b"x" * 6, fin=False) + frame(0, b"x" * 6) + frame(TEXT, b"short")
    assert reader.feed(data) == [b"short"]


def test_window_of_one_message_alone() -> None:
    """Without context takeover each message is inflated for itself."""
    value = b"permessage-deflate; Server_No_Context_Takeover"
    reader = reader_of([(b"sec-websocket-extensions", value)])
    assert reader is not None
    data = b"".join(deflated(zlib.compressobj(wbits=-15), b"again" * 9) for _ in range(2))
    assert reader.feed(data) == [b"again" * 9] * 2


def test_last_blocks_end_messages_not_the_reading() -> None:
    """A server may end each message with a last block (RFC 7692 section 7.2.3.4)."""
    reader = reader_of(DEFLATE)
    assert reader is not None
    payload = zlib.compress(b"again" * 9, wbits=-12) + b"\x00"
    assert reader.feed(frame(TEXT, payload, bits=0x40) * 2) == [b"again" * 9] * 2


def test_nothing_is_gathered_behind_a_last_block() -> None:
    """A message that goes on behind its last block is not held, however long it is."""
    reader = reader_of(DEFLATE)
    assert reader is not None
    reader.feed(frame(TEXT, zlib.compress(b"text", wbits=-12), fin=False, bits=0x40))
    tracemalloc.start()
    for _ in range(100):
        reader.feed(frame(0, bytes(50_000), fin=False))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 1_000_000


def test_bomb_ends_the_reading() -> None:
    """A message that inflates beyond the bound is not inflated to its end."""
    reader = reader_of(DEFLATE)
    assert reader is not None
    assert reader.feed(deflated(zlib.compressobj(wbits=-12), b"x" * 2_000_000)) == []
    assert reader.lost


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x85maskhello",
        frame(TEXT, b"x", bits=0x40),
        frame(TEXT, b"x", bits=0x20),
        frame(3, b"x"),
        frame(11, b"x"),
        frame(0, b"x"),
        frame(PING, b"x", fin=False),
        frame(PING, b"x" * 126),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"),
    ],
    ids=["masked", "rsv1", "rsv2", "opcode 3", "opcode 11", "alone", "cut ping", "ping", "twice"],
)
def test_what_is_no_frame_ends_the_reading(data: bytes) -> None:
    """Nothing is read behind what RFC 6455 does not allow."""
    reader = MessageReader()
    assert reader.feed(data + frame(TEXT, b"later")) == []
    assert reader.lost


def test_rubbish_in_deflate_ends_the_reading() -> None:
    """What cannot be inflated is not an error of the relay."""
    reader = reader_of(DEFLATE)
    assert reader is not None
    assert reader.feed(frame(TEXT, b"\xff\xff\xff", bits=0x40)) == []
    assert reader.lost


def test_other_extensions_are_not_read() -> None:
    """Frames of an extension that is not known here could mean anything."""
    assert reader_of([(b"sec-websocket-extensions", b"x-other")]) is None
    assert reader_of([(b"sec-websocket-extensions", b"permessage-deflate, x-other")]) is None


@given(pieces=st.lists(st.binary(max_size=60), max_size=12), deflate=st.booleans())
def test_no_bytes_break_the_reading(pieces: list[bytes], *, deflate: bool) -> None:
    """Whatever comes, a message within the bound comes out, or nothing."""
    reader = MessageReader(max_bytes=50, deflate=deflate)
    messages = [message for piece in pieces for message in reader.feed(piece)]
    assert all(len(message) <= 50 for message in messages)
    assert sum(map(len, messages)) <= sum(map(len, pieces)) or deflate
