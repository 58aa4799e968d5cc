"""One client request, as the router sees it: what is sent to each upstream that is tried."""

from dataclasses import dataclass

from gateway.headers import to_upstream
from gateway.protocols import openai
from gateway.rewrite import with_model, with_usage
from gateway.stream_tap import StreamTap
from gateway.tap import PassTap, PlainTap
from router.config import UpstreamConfig
from router.upstream import Headers, UpstreamRequest

AnyTap = PlainTap | StreamTap | PassTap


@dataclass(slots=True)
class TapLimits:
    """Bytes of an answer that taps keep.

    Attributes
    ----------
    answer_bytes : int
        Of a plain answer, which is held whole; a longer stream is cut, too.
    keep_bytes : int
        Of a stream, for the record and the cache.
    """

    answer_bytes: int
    keep_bytes: int


@dataclass(slots=True)
class ClientCall:
    """A request whose body was read and, for the operations known here, peeked at.

    Attributes
    ----------
    target : bytes
        Path below /v1 and query.
    operation : str
        A value of `openai.OPERATIONS`, or "other".
    traceparent : bytes
        W3C trace context for the upstream, with this gateway's span as parent.
    forward_credentials : bool
        The client's `Authorization` may go to upstreams without a key of their own; never when
        it holds a key of this gateway.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    operation: str
    peek: openai.Peek
    limits: TapLimits
    traceparent: bytes = b""
    forward_credentials: bool = False
    tap: AnyTap | None = None

    @property
    def stream(self) -> bool:
        """Say whether the client asked for a stream."""
        return bool(self.peek.stream)

    @property
    def adds_usage(self) -> bool:
        """Say whether the usage event is asked for by this gateway alone."""
        options = self.peek.stream_options
        wanted = options is not None and options.include_usage
        return self.stream and self.operation in {"chat", "completion"} and not wanted

    @property
    def repeatable(self) -> bool:
        """Say whether it may reach an upstream twice."""
        return True

    def suits(self, upstream: UpstreamConfig) -> bool:  # noqa: ARG002 - until operations say it
        """Say whether an upstream speaks what is asked."""
        return True

    def request_for(self, upstream: UpstreamConfig) -> UpstreamRequest:
        """Return the request with this upstream's model name and credentials."""
        key = upstream.api_key
        headers = to_upstream(self.headers, keep_credentials=self._forwards(upstream))
        if key is not None:
            headers.append((b"Authorization", b"Bearer " + key.get_secret_value().encode()))
        if upstream.headers:
            own = {name.lower().encode("latin-1") for name in upstream.headers}
            headers = [(name, value) for name, value in headers if name.lower() not in own]
            for name, value in upstream.headers.items():
                headers.append((name.encode("latin-1"), value.encode("latin-1")))
        if self.traceparent:
            headers.append((b"traceparent", self.traceparent))
        body = self.body
        if self.operation != "other":
            if upstream.model is not None and upstream.model != self.peek.model:
                body = with_model(body, self.peek.model, upstream.model)
            if self.adds_usage:
                body = with_usage(body, self.peek)
        return UpstreamRequest(self.method, self.target, headers, body)

    def new_tap(self, upstream: UpstreamConfig) -> AnyTap:
        """Return a fresh tap; the newest is kept for the record."""
        self.tap = self._tap(forwards=self._forwards(upstream))
        return self.tap

    def _forwards(self, upstream: UpstreamConfig) -> bool:
        return self.forward_credentials and upstream.api_key is None and upstream.engine is None

    def _tap(self, *, forwards: bool) -> AnyTap:
        if self.operation == "other":
            return PassTap(self.operation, self.limits.keep_bytes, forwards_credentials=forwards)
        if self.stream:
            return StreamTap(
                self.operation,
                self.limits.keep_bytes,
                forwards_credentials=forwards,
                hide_usage=self.adds_usage,
                max_bytes=self.limits.answer_bytes,
            )
        return PlainTap(self.operation, self.limits.answer_bytes, forwards_credentials=forwards)
