"""From a request's head and body to what can be routed and recorded."""

from collections.abc import Callable
from urllib.parse import unquote_plus

import msgspec

from gateway.client_call import ClientCall
from gateway.errors import InvalidRequest
from gateway.exchange import Exchange
from gateway.protocols.passing import asked_of_model
from gateway.protocols.peeking import check_model
from gateway.protocols.protocol import Operation
from gateway.protocols.table import find_operation
from gateway.recording import RequestRecord, parse_tags
from gateway.request_body import RequestBody, of_json, read_body
from gateway.snapshot import Snapshot
from gateway.trace import continue_trace
from storage.ids import IdSource

PREFIX = "/v1"
_FRESH = frozenset({b"no-cache", b"no-store"})
_NO_LOG = frozenset({b"1", b"true", b"yes"})


class Admitted(msgspec.Struct):
    """A request that will be answered and recorded.

    Attributes
    ----------
    pinned : bool
        Only one upstream may answer: the route's main one, without split, fallback, shadow or
        cache. So it is for what an upstream keeps, and for what names no model to choose by.
    """

    record: RequestRecord
    call: ClientCall
    forced_route: str | None
    traceparent: bytes
    use_cache: bool
    operation: Operation
    pinned: bool


async def admit(
    exchange: Exchange, snapshot: Snapshot, ids: IdSource, *, tenant: str, started_at: int
) -> Admitted:
    """Check what a tenant asks for, read the body, and begin the record.

    Raises
    ------
    RequestError
        The request is refused; nothing is recorded.
    """
    operation = find_operation(exchange.method, exchange.path)
    limits, header = snapshot.limits, exchange.header
    if operation.body == "json" and header(b"content-encoding") is None:
        body = of_json(await exchange.body(), operation)
    else:
        body = await _read(exchange, operation, limits.body_bytes)
    peek = body.peek
    trace = continue_trace(header(b"traceparent"), ids)
    record = RequestRecord(
        id=ids.new_id(),
        started_at=started_at,
        started_s=exchange.started_s,
        operation=operation.name,
        tenant=tenant,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_span_id=trace.parent_span_id,
        model_asked=peek.model,
        protocol=operation.protocol.name,
        stream=bool(peek.stream),
        tags=parse_tags(header(b"x-driftgate-tags")),
        request=body.shown,
        source=body.source,
        log_payload=not _is_private(header(b"x-driftgate-no-log")),
    )
    call = ClientCall(
        method=exchange.method.encode(),
        target=_target(exchange, operation),
        headers=exchange.headers,
        body=body.raw,
        operation=operation,
        peek=peek,
        limits=snapshot.tap_limits,
        traceparent=trace.traceparent,
        forward_credentials=not snapshot.keys,
        text=body.shown if body.coding else None,
        form=body.form,
        source=body.source,
        upgrade=_upgrade(exchange, operation),
    )
    pinned = operation.stateful or not peek.model or peek.refers
    return Admitted(
        record=record,
        call=call,
        forced_route=(header(b"x-driftgate-route") or b"").decode("latin-1") or None,
        traceparent=call.traceparent,
        use_cache=operation.cacheable and not pinned and not _bypasses_cache(header, call),
        operation=operation,
        pinned=pinned,
    )


async def _read(exchange: Exchange, operation: Operation, max_bytes: int) -> RequestBody:
    """Read what is no plain JSON, and where the model stands elsewhere, that."""
    body = await read_body(exchange, operation, max_bytes)
    if operation.model_in == "query":
        body.peek.model = _model_in(exchange.query)
    elif operation.model_in == "path":
        body.peek.model = check_model(asked_of_model(exchange.path))
    return body


def _target(exchange: Exchange, operation: Operation) -> bytes:
    """Return the path, from below `/v1` on where it is there, and query."""
    path = exchange.path if operation.root else exchange.path[len(PREFIX) :]
    below = path.encode("latin-1")
    return below + b"?" + exchange.query if exchange.query else below


def _is_private(no_log: bytes | None) -> bool:
    return no_log is not None and no_log.strip().lower() in _NO_LOG


def _upgrade(exchange: Exchange, operation: Operation) -> bytes:
    """Return the protocol to change to; any but this would pass everything checked here by."""
    return exchange.upgrade if operation.upgrade and exchange.upgrade == b"websocket" else b""


def _model_in(query: bytes) -> str:
    """Return the parameter `model` of a query, "" when there is none."""
    parts = [(part, part.partition(b"=")[0].decode("latin-1")) for part in query.split(b"&")]
    named = [(part, name) for part, name in parts if unquote_plus(name) == "model"]
    if len(named) > 1:
        raise InvalidRequest("The query names two models; send one `model`.", param="model")
    if not named:
        return ""
    if named[0][1] != "model":
        raise InvalidRequest("The query writes `model` with escapes; send it plain.", param="model")
    return check_model(unquote_plus(named[0][0][len(b"model=") :].decode("latin-1")))


def _bypasses_cache(header: Callable[[bytes], bytes | None], call: ClientCall) -> bool:
    """Say whether the client asked for a fresh answer (RFC 9111 §5.2.1), or cannot share one."""
    if call.forward_credentials and header(b"x-api-key") is not None:
        return True  # The cache tells owners apart by `Authorization` alone.
    control = header(b"cache-control")
    return control is not None and not _FRESH.isdisjoint(_directives(control))


def _directives(value: bytes) -> set[bytes]:
    return {part.strip().lower() for part in value.split(b",")}
