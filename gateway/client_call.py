"""One client request, as the router sees it: what is sent to each upstream that is tried."""

import msgspec

from gateway.credentials import takes_client_keys, with_own_fields
from gateway.headers import BEARER, to_upstream
from gateway.protocols.protocol import Operation, Peek
from gateway.request_body import FormBody
from gateway.rewrite import with_form_model, with_model, with_query_model, with_usage
from gateway.stream_tap import StreamTap
from gateway.tap import PassTap, PlainTap
from router.config import UpstreamConfig
from router.upstream import BodySource, Headers, UpstreamRequest

AnyTap = PlainTap | StreamTap | PassTap

_EVENT_BYTES = 1_048_576
_BEARER_OR_KEY = frozenset({b"authorization", b"x-api-key"})
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class TapLimits(msgspec.Struct, frozen=True):
    """Bytes of an answer that taps keep.

    Attributes
    ----------
    answer_bytes : int
        Of a plain answer, which is held whole; a longer stream is cut, too, unless it is no
        longer than one of its events may be.
    keep_bytes : int
        Of a stream, for the record and the cache.
    event_bytes : int
        Of one event of a stream.
    """

    answer_bytes: int
    keep_bytes: int
    event_bytes: int = _EVENT_BYTES


class ClientCall(msgspec.Struct):
    """A request whose body was peeked at where its operation asks for that.

    Attributes
    ----------
    target : bytes
        Path below /v1 and query; the whole path where the operation is at the `root`.
    body : bytes
        As it came, b"" when it is not held.
    coding : bytes
        Content coding of the body, b"" for none.
    text : bytes or None
        The body with its coding undone, None when it has none.
    form : FormBody or None
        A multipart body whose model stands where it says.
    source : BodySource or None
        The body, when it is not held: it can be sent once.
    traceparent : bytes
        W3C trace context for the upstream, with this gateway's span as parent.
    forward_credentials : bool
        The client's key may go to upstreams without a key of their own; never when it is a key
        of this gateway.
    upgrade : bytes
        The protocol that the client wants to change to, b"" for none.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    operation: Operation
    peek: Peek
    limits: TapLimits
    traceparent: bytes = b""
    forward_credentials: bool = False
    text: bytes | None = None
    form: FormBody | None = None
    source: BodySource | None = None
    upgrade: bytes = b""
    tap: AnyTap | None = None

    @property
    def stream(self) -> bool:
        """Say whether the client asked for a stream."""
        return bool(self.peek.stream)

    @property
    def adds_usage(self) -> bool:
        """Say whether the usage event is asked for by this gateway alone."""
        if not (self.peek.stream and self.operation.usage_option) or self.text is not None:
            return False
        options = self.peek.stream_options
        return options is None or not options.include_usage

    @property
    def repeatable(self) -> bool:
        """Say whether it may reach an upstream twice, and can be sent again at all."""
        once = self.source is not None or bool(self.upgrade)
        return not once and (self.operation.repeatable or self.method in _IDEMPOTENT)

    def suits(self, upstream: UpstreamConfig) -> bool:
        """Say whether an upstream speaks what is asked."""
        operation = self.operation
        if upstream.engine is not None:
            return operation.engine
        # Servers of OpenAI's protocol may speak Anthropic's, too (vLLM, llama-server); the other
        # way round there is nothing but the objects that both keep, such as files.
        return (
            upstream.protocol != "anthropic"
            or operation.protocol.name != "openai"
            or operation.stateful
        )

    def request_for(self, upstream: UpstreamConfig) -> UpstreamRequest:
        """Return the request with this upstream's model name and credentials."""
        request = UpstreamRequest(
            self.method,
            self.target,
            self._headers_for(upstream),
            self.body if self.source is None else self.source,
            self.upgrade,
        )
        request.root = self.operation.root
        if self.source is not None:
            # Whoever asks before sending learns of a refusal before sending, too.
            request.expect_continue = any(name.lower() == b"expect" for name, _ in self.headers)
        model, asked = upstream.model, self.peek.model
        if model is not None and asked and model != asked:
            self._rename(request, asked, model)
        if self.adds_usage:
            assert isinstance(request.body, bytes)
            request.body = with_usage(request.body, self.peek)
        return request

    def new_tap(self, upstream: UpstreamConfig) -> AnyTap:
        """Return a fresh tap; the newest is kept for the record."""
        self.tap = tap = self._tap(forwards=self._forwards(upstream))
        if self.method == b"HEAD":
            tap.bodiless = True
        return tap

    def _rename(self, request: UpstreamRequest, old: str, new: str) -> None:
        """Write an upstream's own model name in place of the client's, where that can be done."""
        if not self.operation.edits_model:
            return
        if self.operation.model_in == "query":
            request.target = with_query_model(self.target, new)
        elif self.form is not None:
            edited = with_form_model(self.form, new)
            request.body = edited.head if edited.source is None else edited.source
        elif self.text is not None:
            # What is changed is no longer what was coded.
            request.headers = [
                field for field in request.headers if field[0].lower() != b"content-encoding"
            ]
            request.body = with_model(self.text, old, new)
        elif self.body:
            request.body = with_model(self.body, old, new)

    def _headers_for(self, upstream: UpstreamConfig) -> Headers:
        """Return the client's headers, this upstream's key and what the operator adds."""
        anthropic = self.operation.protocol.name == "anthropic" or upstream.protocol == "anthropic"
        headers = to_upstream(
            self.headers,
            keep_credentials=self._forwards(upstream),
            kept=_BEARER_OR_KEY if anthropic else BEARER,
        )
        headers = with_own_fields(headers, upstream)
        if self.traceparent:
            headers.append((b"traceparent", self.traceparent))
        return headers

    def _forwards(self, upstream: UpstreamConfig) -> bool:
        return self.forward_credentials and takes_client_keys(upstream)

    def _tap(self, *, forwards: bool) -> AnyTap:
        operation, limits = self.operation, self.limits
        if not operation.strict:
            return PassTap(
                operation,
                limits.keep_bytes,
                look_bytes=limits.answer_bytes,
                event_bytes=limits.event_bytes,
                forwards_credentials=forwards,
            )
        if self.peek.stream and operation.events is not None:
            return StreamTap(
                operation,
                limits.keep_bytes,
                hide_usage=self.adds_usage,
                # An event that may be so long must not break the stream that it is in.
                max_bytes=max(limits.answer_bytes, limits.event_bytes),
                event_bytes=limits.event_bytes,
                forwards_credentials=forwards,
            )
        return PlainTap(operation, limits.answer_bytes, forwards_credentials=forwards)
