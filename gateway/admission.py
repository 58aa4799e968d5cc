"""From a request's head and body to what can be routed and recorded."""

import re
from dataclasses import dataclass

from gateway.client_call import ClientCall, TapLimits
from gateway.errors import InvalidRequest, MethodNotAllowed, NotFound
from gateway.exchange import Exchange
from gateway.protocols import openai
from gateway.recording import RequestRecord, parse_tags
from gateway.snapshot import Snapshot
from gateway.trace import continue_trace
from storage.ids import IdSource

PREFIX = "/v1"
_BAD_PATH = re.compile(r"//|(/|%2f)\.{1,2}(/|%2f|$)|%2e|%5c|%00|\\", re.IGNORECASE)
# Paths below /v1 that change a model server instead of asking it (vLLM).
_REFUSED = frozenset({"/load_lora_adapter", "/unload_lora_adapter"})
_NO_LOG = frozenset({b"1", b"true", b"yes"})


@dataclass(slots=True)
class Admitted:
    """A request that will be answered and recorded."""

    record: RequestRecord
    call: ClientCall
    forced_route: str | None
    traceparent: bytes
    use_cache: bool


def operation_of(exchange: Exchange) -> tuple[str, str]:
    """Return the path below /v1 and its operation ("other" for paths passed through).

    Raises
    ------
    NotFound, MethodNotAllowed
    """
    below = exchange.path[len(PREFIX) :]
    if _BAD_PATH.search(below) or below in _REFUSED:
        raise NotFound(f"There is no path `{exchange.path}` here.")
    operation = openai.OPERATIONS.get(below)
    if operation is None:
        return below, "other"
    if exchange.method != "POST":
        raise MethodNotAllowed(f"`{exchange.path}` takes POST, not {exchange.method}.")
    return below, operation


async def admit(
    exchange: Exchange, snapshot: Snapshot, ids: IdSource, *, tenant: str, started_at: int
) -> Admitted:
    """Check what a tenant asks for, read the body, and begin the record.

    Raises
    ------
    RequestError
        The request is refused; nothing is recorded.
    """
    below, operation = operation_of(exchange)
    body = await exchange.body()
    peek = openai.peek(body) if operation != "other" else _peek_other(exchange, body)
    trace = continue_trace(exchange.header(b"traceparent"), ids)
    record = RequestRecord(
        id=ids.new_id(),
        started_at=started_at,
        started_s=exchange.started_s,
        operation=operation if operation != "other" else below.lstrip("/"),
        tenant=tenant,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_span_id=trace.parent_span_id,
        model_asked=peek.model,
        stream=bool(peek.stream),
        tags=parse_tags(exchange.header(b"x-driftgate-tags")),
        request=body,
        log_payload=exchange.header(b"x-driftgate-no-log") not in _NO_LOG,
    )
    target = below.encode("latin-1") + (b"?" + exchange.query if exchange.query else b"")
    call = ClientCall(
        method=exchange.method.encode(),
        target=target,
        headers=exchange.headers,
        body=body,
        operation=operation,
        peek=peek,
        limits=TapLimits(snapshot.limits.answer_bytes, snapshot.keep_bytes),
        traceparent=trace.traceparent,
        forward_credentials=not snapshot.keys,
    )
    forced = exchange.header(b"x-driftgate-route")
    return Admitted(
        record=record,
        call=call,
        forced_route=forced.decode("latin-1") if forced else None,
        traceparent=trace.traceparent,
        use_cache=operation in openai.CACHEABLE and not _bypasses_cache(exchange),
    )


def _peek_other(exchange: Exchange, body: bytes) -> openai.Peek:
    """Read the model of a body this gateway has no need to understand."""
    content_type = exchange.header(b"content-type") or b""
    if not body or not content_type.lower().startswith(b"application/json"):
        return openai.Peek()
    try:
        return openai.peek(body)
    except InvalidRequest:
        return openai.Peek()


def _bypasses_cache(exchange: Exchange) -> bool:
    """Say whether the client asked for a fresh answer (RFC 9111 §5.2.1)."""
    control = exchange.header(b"cache-control")
    return control is not None and bool({b"no-cache", b"no-store"} & _directives(control))


def _directives(value: bytes) -> set[bytes]:
    return {part.strip().lower() for part in value.split(b",")}
