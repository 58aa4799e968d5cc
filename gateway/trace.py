"""W3C Trace Context: which trace a request belongs to."""

import re
from typing import NamedTuple

from storage.ids import IdSource

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class TraceContext(NamedTuple):
    """Ids of this gateway's span: 32, 16 and 16 hexadecimal digits.

    Attributes
    ----------
    traceparent : bytes
        The header that names this span as the parent.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    traceparent: bytes


def continue_trace(header: bytes | None, ids: IdSource) -> TraceContext:
    """Join the trace of a `traceparent` header, or start one (W3C Trace Context §3.2)."""
    parent = None
    match = _TRACEPARENT.fullmatch(header) if header else None
    if match is None or match[1] == b"0" * 32 or match[2] == b"0" * 16:
        trace_id = ids.new_trace_id()
    else:
        trace_id, parent = match[1].decode(), match[2].decode()
    span_id = ids.new_span_id()
    return TraceContext(trace_id, span_id, parent, f"00-{trace_id}-{span_id}-01".encode())
