import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.trace import continue_trace
from storage.ids import IdSource

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01")


@pytest.fixture
def ids() -> IdSource:
    """Return a source of ids at a fixed time."""
    return IdSource(lambda: 1_795_000_000_000_000)


@pytest.mark.parametrize("flags", ["00", "01", "ff"])
def test_trace_goes_on(ids: IdSource, flags: str) -> None:
    """A valid header's trace is joined, its span is the parent, ours is new."""
    found = continue_trace(f"00-{TRACE}-{PARENT}-{flags}".encode(), ids)
    assert (found.trace_id, found.parent_span_id) == (TRACE, PARENT)
    assert found.span_id != PARENT
    assert found.traceparent == f"00-{TRACE}-{found.span_id}-01".encode()


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"garbage",
        f"00-{'0' * 32}-{PARENT}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE.upper()}-{PARENT}-01".encode(),
        f"ff-{TRACE}-{PARENT}-01".encode(),
        f"00-{TRACE}-{PARENT}".encode(),
        f"00-{TRACE}-{PARENT}-01-extra".encode(),
        f"00-{TRACE}-{PARENT}-01\n".encode(),
        f" 00-{TRACE}-{PARENT}-01".encode(),
        f"00-{TRACE[:-1]}-{PARENT}-01".encode(),
        f"00-{TRACE}-{PARENT}-1".encode(),
        b"00-" + b"\xff" * 32 + b"-b7ad6b7169203331-01",
    ],
    ids=str,
)
def test_wrong_headers_start_a_trace(ids: IdSource, header: bytes | None) -> None:
    """What W3C Trace Context calls invalid is ignored: a trace of our own begins."""
    found = continue_trace(header, ids)
    assert found.parent_span_id is None
    assert found.trace_id != TRACE
    assert VALID.fullmatch(found.traceparent)


@given(st.binary(max_size=80))
def test_header_sent_on_is_always_valid(header: bytes) -> None:
    """Whatever a client sends, the upstream gets a valid header."""
    ids = IdSource(lambda: 1_795_000_000_000_000)
    assert VALID.fullmatch(continue_trace(header, ids).traceparent)
