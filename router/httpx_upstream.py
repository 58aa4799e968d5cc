"""The client of upstreams behind a proxy, or over HTTP/2: `httpx2` behind the same seam.

Only its transport is used: no redirects, no cookies, no decoding, no proxies of the environment.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from router.address import parse_address, tls_context
from router.config import UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.h2_reset import reset_stream
from router.httpx_response import ERRORS, HttpxResponse, fault_of
from router.pool import IDLE_TIMEOUT_S
from router.request_head import HeadBuilder
from router.tasks import TaskSet
from router.upstream import BodySource, Headers, UpstreamRequest, UpstreamStatistics


class HttpxUpstream:
    """Implements `router.upstream.Upstream` for `config.proxy` and `config.http2`.

    It costs some ten times what `HttpUpstream` does. `Expect` is not sent, an answer is heard
    only once the request's body is sent or cannot be, and no protocol can be upgraded to.

    Parameters
    ----------
    config : UpstreamConfig
        `http2` is negotiated with https; with http the server must speak it at once.

    Raises
    ------
    ValueError
        As `parse_address` and `tls_context`.
    """

    __slots__ = (
        "_address",
        "_closed",
        "_config",
        "_heads",
        "_in_use",
        "_retired",
        "_tasks",
        "_transport",
        "_waiting",
        "name",
    )

    def __init__(self, config: UpstreamConfig) -> None:
        self.name = config.name
        self._config = config
        self._address = parse_address(config)
        self._heads = HeadBuilder(config.name, self._address)
        self._tasks = TaskSet()
        self._in_use = 0
        self._waiting = 0
        self._closed = False
        self._retired = False
        proxy = config.proxy
        self._transport = httpx2.AsyncHTTPTransport(
            verify=tls_context(config),
            trust_env=False,
            http1=self._address.tls or not config.http2,
            http2=config.http2,
            limits=httpx2.Limits(
                max_connections=config.max_connections, keepalive_expiry=IDLE_TIMEOUT_S
            ),
            proxy=None if proxy is None else httpx2.Proxy(proxy.get_secret_value()),
        )

    async def send(self, request: UpstreamRequest, *, connect_timeout_s: float) -> HttpxResponse:
        """Send a request and return when the head of the answer has arrived.

        Raises
        ------
        UpstreamFault
            As `HttpUpstream.send`; `connect_timeout_s` bounds the proxy's answer too.
            INVALID_REQUEST for an upgrade.
        BaseException
            What the source of the body raised.
        """
        self._check(request)
        trip = _Trip(self)
        message = self._message(request, trip)
        response: httpx2.Response | None = None
        self._waiting += 1
        try:
            async with asyncio.timeout(connect_timeout_s) as bound:
                trip.bound = bound
                response = await self._transport.handle_async_request(message)
        except TimeoutError as error:
            if trip.sent:
                raise  # the source's own
            raise self._late(trip, connect_timeout_s) from error
        except ERRORS as error:
            if trip.reading:
                raise  # the source's own
            raise fault_of(error, self.name, sent=trip.sent) from error
        finally:
            trip.leave_queue()
            if response is None:
                self.finished()
        answer = HttpxResponse(response, self, self._tasks)
        answer.check_fields()
        return answer

    def statistics(self) -> UpstreamStatistics:
        """Return the numbers of requests; idle connections are not told by `httpx2`."""
        return UpstreamStatistics(in_use=self._in_use, idle=0, waiting=self._waiting)

    def retire(self) -> None:
        """Close once the requests under way have ended."""
        self._retired = True
        self._close_when_done()

    async def aclose(self) -> None:
        """Close every connection; later requests are refused."""
        self._closed = True
        await self._tasks.wait(1.0)
        await self._tasks.cancel()
        await self._transport.aclose()

    # -- what a trip and an answer need

    def left_queue(self) -> None:
        """Take note that a request has its connection, or will never have one."""
        self._waiting -= 1
        self._in_use += 1

    async def give_up(self, trip: "_Trip", stream_id: int) -> None:
        """End a stream of HTTP/2, if it has not ended by itself."""
        await reset_stream(self._transport, trip.trace, stream_id)

    def finished(self) -> None:
        """Take note that a request is over."""
        self._in_use -= 1
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._retired and not self._closed and not (self._in_use or self._waiting):
            self._closed = True
            self._tasks.start(self._transport.aclose())

    def _check(self, request: UpstreamRequest) -> None:
        config = self._config
        if self._closed:
            raise UpstreamFault(
                f"upstream `{self.name}` is closed: the gateway shuts down or was reconfigured",
                reason=Reason.SHUTTING_DOWN,
                sent=False,
            )
        if request.upgrade:
            raise UpstreamFault(
                f"upstream `{self.name}` has `proxy` or `http2`, which cannot be upgraded to "
                f"{request.upgrade!r}; use an upstream without them",
                reason=Reason.INVALID_REQUEST,
                sent=False,
            )
        if self._in_use + self._waiting >= config.max_connections + config.max_queue:
            raise self._busy("its connections are all in use and its queue is full")

    def _message(self, request: UpstreamRequest, trip: "_Trip") -> httpx2.Request:
        # The same rules for what may be sent; the bytes are written by httpx2.
        self._heads.build(request)
        address, body = self._address, request.body
        scheme = "https" if address.tls else "http"
        base = address.root_path if request.root else address.base_path
        extensions: dict[str, Any] = {
            "target": base.encode("ascii") + request.target,
            "trace": trip.trace,
        }
        if self._config.server_name is not None:
            extensions["sni_hostname"] = self._config.server_name
        return httpx2.Request(
            request.method.decode("ascii"),
            f"{scheme}://{address.authority}/",
            headers=_fields(request, address.authority.encode("ascii")),
            stream=_Body(body, trip),
            extensions=extensions,
        )

    def _late(self, trip: "_Trip", timeout_s: float) -> UpstreamFault:
        if not trip.connecting:
            return self._busy("none of its connections came free in time")
        return UpstreamFault(
            f"no connection to upstream `{self.name}` within {timeout_s:g} s",
            reason=Reason.UPSTREAM_TIMEOUT,
            sent=False,
            connect_phase=True,
        )

    def _busy(self, why: str) -> UpstreamFault:
        config = self._config
        return UpstreamFault(
            f"upstream `{self.name}` is busy: {why}; `upstreams.{self.name}.max_connections` is "
            f"{config.max_connections}, `max_queue` is {config.max_queue}",
            reason=Reason.UPSTREAM_BUSY,
            sent=False,
        )


class _Trip:
    """What is known of one request before its answer.

    Attributes
    ----------
    connecting : bool
        It has left the queue.
    sent : bool
        Its first bytes may have left.
    reading : bool
        The source of its body is being read: what fails now is the source.
    """

    __slots__ = ("_owner", "bound", "connecting", "reading", "sent")

    def __init__(self, owner: HttpxUpstream) -> None:
        self._owner = owner
        self.bound: asyncio.Timeout | None = None
        self.connecting = False
        self.reading = False
        self.sent = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take what the transport says of its progress."""
        self.leave_queue()
        if event == "http2.response_closed.started":
            await self._owner.give_up(self, info["stream_id"])
        if self.sent or not event.endswith("send_request_headers.started"):
            return
        if info["request"].method != b"CONNECT":
            self.sent = True
            if self.bound is not None:
                self.bound.reschedule(None)

    def leave_queue(self) -> None:
        """Count the request as one with a connection. Idempotent."""
        if not self.connecting:
            self.connecting = True
            self._owner.left_queue()


class _Body(httpx2.AsyncByteStream):
    """The body of a request, whole or in parts."""

    def __init__(self, body: bytes | BodySource, trip: _Trip) -> None:
        self._body = body
        self._trip = trip

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = self._body
        if isinstance(body, bytes):
            if body:
                yield body
            return
        trip = self._trip
        while True:
            trip.reading = True
            part = await body.read()
            trip.reading = False
            if not part:
                return
            yield part


def _fields(request: UpstreamRequest, authority: bytes) -> Headers:
    body = request.body
    fields = [(b"Host", authority), *request.headers]
    if not any(name.lower() == b"accept-encoding" for name, _ in request.headers):
        fields.append((b"Accept-Encoding", b"identity"))
    length = len(body) if isinstance(body, bytes) else body.length
    if length is None:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif length or request.method not in {b"GET", b"HEAD"}:
        fields.append((b"Content-Length", b"%d" % length))
    return fields
