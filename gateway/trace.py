"""W3C Trace Context: which trace a request belongs to."""

import re
from typing import NamedTuple

from storage.ids import IdSource

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class TraceContext(NamedTuple):
    """Ids of this gateway's span: 32, 16 and 16 hexadecimal digits."""

    trace_id: str
    span_id: str
    parent_span_id: str | None

    @property
    def traceparent(self) -> bytes:
        """Return the header that names this span as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-01".encode()


def continue_trace(header: bytes | None, ids: IdSource) -> TraceContext:
    """Join the trace of a `traceparent` header, or start one (W3C Trace Context §3.2)."""
    match = _TRACEPARENT.fullmatch(header) if header else None
    if match is None or match[1] == b"0" * 32 or match[2] == b"0" * 16:
        return TraceContext(ids.new_trace_id(), ids.new_span_id(), None)
    return TraceContext(match[1].decode(), ids.new_span_id(), match[2].decode())
