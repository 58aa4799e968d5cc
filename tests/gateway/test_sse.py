import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import MAX_EVENT_BYTES, Event, EventSplitter, EventTooLongError

BOM = b"\xef\xbb\xbf"
LINE_ENDS = ("\n", "\r\n", "\r")
texts = st.text(
    st.characters(exclude_characters="\r\n\ufeff", exclude_categories=["Cs"]), max_size=20
)
lines = st.one_of(
    texts.map(lambda t: f"data:{t}"),
    texts.map(lambda t: f"data: {t}"),
    texts.map(lambda t: f": {t}"),
    texts.map(lambda t: f"event: {t}"),
    texts.map(lambda t: f"id: {t}"),
    st.just("data"),
    st.just("retry: 10"),
)
blocks = st.lists(lines, min_size=1, max_size=5)


def split(pieces: list[bytes]) -> tuple[list[Event], Event | None]:
    """Feed pieces; return the events, and what `flush` finds."""
    splitter = EventSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)], splitter.flush()


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at some offsets."""
    at = sorted({min(one, len(data)) for one in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(
    st.lists(blocks, max_size=5),
    st.sampled_from(LINE_ENDS),
    st.lists(st.integers(0, 600), max_size=30),
    st.sampled_from([b"", BOM]),
)
def test_any_chunking_gives_the_same_events(
    events: list[list[str]], end: str, cuts: list[int], bom: bytes
) -> None:
    """However a stream is cut, its events are the same, and their raw bytes are the stream."""
    text = "".join("".join(line + end for line in block) + end for block in events)
    data = (bom if events else b"") + text.encode()
    whole, rest = split([data])
    pieces, rest_of_pieces = split(cut(data, cuts))
    assert pieces == whole
    assert rest is None
    assert rest_of_pieces is None
    assert b"".join(event.raw for event in pieces) == data
    assert len(whole) == len(events)
    assert not any(event.foreign for event in whole)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=30))
def test_no_byte_is_lost_or_made_up(data: bytes, cuts: list[int]) -> None:
    """Arbitrary bytes come out as they went in, whatever they are and however they are cut."""
    events, last = split(cut(data, cuts))
    out = b"".join(event.raw for event in events) + (last.raw if last else b"")
    assert data.startswith(out)
    assert not data[len(out) :].strip()
    assert events == split([data])[0]


@given(st.lists(st.text("ab\r\n:", max_size=6)), st.lists(st.integers(0, 60), max_size=20))
def test_mixed_line_ends_do_not_depend_on_the_cut(parts: list[str], cuts: list[int]) -> None:
    """Line ends of all kinds mixed, cut anywhere, even within CRLF, give the same events."""
    data = "data: x".join(parts).encode()
    assert split(cut(data, cuts)) == split([data])


@pytest.mark.parametrize("end", LINE_ENDS, ids=["lf", "crlf", "cr"])
def test_fields_are_read_as_the_specification_says(end: str) -> None:
    """`data` lines are joined, one space after the colon is dropped, comments are no data."""
    block = [": comment", "event: delta", "data:  two spaces", "data", "data:none", "id: 4", ""]
    (event,), _ = split([(end.join(block) + end).encode()])
    assert event.name == b"delta"
    assert event.data == b" two spaces\n\nnone"
    assert not event.foreign


def test_comment_has_no_data() -> None:
    """A comment alone is an event without data."""
    (event,), _ = split([b": keep-alive\n\n"])
    assert event.data is None


@pytest.mark.parametrize("prefix", [b"", BOM], ids=["plain", "bom"])
def test_byte_order_mark_is_no_part_of_the_first_field(prefix: bytes) -> None:
    """A BOM before the first event is ignored, and kept in the raw bytes."""
    (event,), _ = split([prefix + b"data: 1\n\n"])
    assert (event.data, event.raw) == (b"1", prefix + b"data: 1\n\n")


@pytest.mark.parametrize(
    "line", [b"<html>", b'{"error": 1}', b"Data: 1", b"\xff\xfe: 1", b" data: 1", b"dat: 1"]
)
def test_lines_that_no_event_has_are_foreign(line: bytes) -> None:
    """A line with a field that the specification does not know is told apart."""
    (event,), _ = split([b"data: 1\n" + line + b"\n\n"])
    assert event.foreign


def test_last_event_without_its_blank_line_is_flushed() -> None:
    """A stream that ends without the last blank line has its last event all the same."""
    events, last = split([b"data: 1\n\ndata: 2\n"])
    assert [event.data for event in events] == [b"1"]
    assert last is not None
    assert last.data == b"2"


def test_flush_empties_the_splitter() -> None:
    """What was flushed is not found a second time."""
    splitter = EventSplitter()
    splitter.feed(b"data: 1")
    assert splitter.flush() is not None
    assert splitter.flush() is None


@pytest.mark.parametrize("size", [1 << 16, 1 << 20], ids=["64k", "1m"])
def test_event_that_never_ends_is_refused(size: int) -> None:
    """A line without end is refused once it is longer than an event may be, not kept for ever."""
    with pytest.raises(EventTooLongError):
        split([b"x" * size] * (2 + MAX_EVENT_BYTES // size))


def test_largest_event_passes() -> None:
    """An event just below the limit is one event, however it comes."""
    data = b"data: " + b"x" * (MAX_EVENT_BYTES - 10) + b"\n\n"
    (event,), _ = split([data[:100_000], data[100_000:]])
    assert event.data is not None
    assert len(event.data) == MAX_EVENT_BYTES - 10


@pytest.mark.parametrize("piece", [b"data:", b"a\r\n", b"a\nb\r"], ids=["none", "crlf", "mixed"])
def test_small_pieces_of_a_large_event_take_linear_time(piece: bytes) -> None:
    """A megabyte in tiny pieces takes a second at most: copied at every piece it takes minutes."""
    splitter = EventSplitter()
    started_s = time.process_time()
    for _ in range(1_000_000 // len(piece)):
        splitter.feed(piece)
    assert time.process_time() - started_s < 2.0


@pytest.mark.parametrize("end", LINE_ENDS, ids=["lf", "crlf", "cr"])
def test_many_events_in_one_chunk_do_not_hold_the_loop(end: str) -> None:
    """A quarter of a megabyte of events, as one read returns it, is cut in well under 50 ms."""
    one = f'data: {{"choices":[{{"delta":{{"content":"word"}}}}]}}{end}{end}'.encode()
    data = one * (262_144 // len(one))
    best_s = 1.0
    for _ in range(3):
        started_s = time.process_time()
        events, _ = split([data])
        best_s = min(best_s, time.process_time() - started_s)
    assert len(events) == len(data) // len(one)
    assert best_s < 0.05
