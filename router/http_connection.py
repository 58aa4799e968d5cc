"""One HTTP/1.1 connection to an upstream: an asyncio protocol over llhttp, and the answer on it.

Framing follows RFC 9112. Whatever that document calls ambiguous (both Content-Length and
Transfer-Encoding, repeated lengths) is an error here, never a guess, and a connection whose
last exchange did not end exactly where its framing said is never used again.
"""

import asyncio
import select
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from router.errors import Reason, UpstreamFault
from router.http_response import HttpResponse

BUFFER_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024
HEAD_FIELDS = 100
INTERIM_COST_BYTES = 1024  # what a 1xx answer counts against HEAD_BYTES, so that they end
JOINED_WRITE_BYTES = 64 * 1024


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def give_back(self, connection: "HttpConnection") -> None:
        """Take note that an exchange has ended; `detach` says whether another may follow."""
        ...

    def forget(self, connection: "HttpConnection") -> None:
        """Take note that the connection is closed; called once."""
        ...


class _BadFramingError(Exception):
    """Raised inside parser callbacks; the parser wraps it."""


class HttpConnection(asyncio.Protocol):
    """One connection; carries one request at a time.

    Parameters
    ----------
    name : str
        What messages call the upstream; no credentials.
    owner : Owner
    """

    __slots__ = (
        "_head_bytes",
        "_keep_alive",
        "_lost",
        "_name",
        "_owner",
        "_parser",
        "_paused",
        "_poll",
        "_raw_head_bytes",
        "_response",
        "_transport",
    )

    def __init__(self, name: str, owner: Owner) -> None:
        self._name = name
        self._owner = owner
        self._parser: HttpResponseParser | None = None
        self._transport: asyncio.Transport | None = None
        self._response: HttpResponse | None = None
        self._poll = select.poll()
        self._head_bytes = 0
        self._raw_head_bytes = 0
        self._keep_alive = False
        self._paused = False
        self._lost = False

    @property
    def lost(self) -> bool:
        """True once the connection is closed."""
        return self._lost

    def start(self, head: bytes, body: bytes, *, bodiless: bool = False) -> HttpResponse:
        """Send a request; `bodiless` when its answer has no body whatever its head says."""
        response = HttpResponse(self, bodiless=bodiless)
        transport = self._transport
        if self._lost or transport is None or transport.is_closing():
            response.fail(self._cut("closed the connection before the request", sent=False))
            return response
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._response = response
        self._head_bytes = 0
        self._raw_head_bytes = 0
        self._keep_alive = False
        if len(body) <= JOINED_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return response

    def end_exchange(self) -> None:
        """Hand the connection back to its owner."""
        self._owner.give_back(self)

    def detach(self) -> bool:
        """End the exchange; True when the connection may carry another request, else it closes."""
        response = self._response
        self._response = None
        transport = self._transport
        if (
            response is not None
            and response.complete
            and self._keep_alive
            and transport is not None
            and not transport.is_closing()
            # A server may answer before it has taken the request; the rest must not linger.
            and not transport.get_write_buffer_size()
        ):
            self.resume()
            return True
        self.abort()
        return False

    def is_quiet(self) -> bool:
        """Return True when the connection is open and no byte or EOF waits to be read on it."""
        transport = self._transport
        if self._lost or transport is None or transport.is_closing():
            return False
        return not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once, without flushing. Idempotent."""
        if self._transport is not None:
            self._transport.abort()

    def resume(self) -> None:
        """Read on if the answer's buffer was full."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; bytes that answer nothing cost the connection its life."""
        response = self._response
        parser = self._parser
        if response is None or parser is None:
            self.abort()
            return
        response.started = True
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._break(response, error)
            return
        if not response.head_complete:
            self._raw_head_bytes += len(data)
            if self._raw_head_bytes > HEAD_BYTES:
                self._break(response, _too_large())
        elif response.buffered_bytes > BUFFER_BYTES and not self._paused:
            self._pause()

    def eof_received(self) -> None:
        """End a body that only the end of the connection ends; the transport closes itself."""
        response = self._response
        if response is not None and response.ends_with_connection():
            response.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader, and the pool."""
        self._lost = True
        self._parser = None
        response = self._response
        if response is not None and not response.complete:
            what = "cut the answer short" if response.started else "closed without an answer"
            fault = self._cut(what)
            fault.__cause__ = exc
            response.fail(fault)
        self._owner.forget(self)

    # -- httptools callbacks

    def on_message_begin(self) -> None:
        """Notice an answer to nothing behind the answer."""
        if self._response is None or self._response.complete:
            raise _BadFramingError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field; trailer fields count but are dropped."""
        response = self._response
        assert response is not None
        self._count_head(len(name) + len(value) + 4)
        if len(response.headers) >= HEAD_FIELDS:
            raise _too_large()
        if not response.head_complete:
            response.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the status, or skip an interim answer."""
        response, parser = self._response, self._parser
        assert response is not None
        assert parser is not None
        status = parser.get_status_code()
        if status < 200:
            if status in {100, 102, 103}:
                response.headers.clear()
                self._count_head(INTERIM_COST_BYTES)
                return
            raise _BadFramingError(f"status {status}, which nobody asked for")
        self._keep_alive = parser.should_keep_alive()
        response.begin_body(status)
        if response.complete:
            # This parser waits for a body that the head announces and that never comes.
            self._parser = None

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        response = self._response
        assert response is not None
        if response.complete:
            raise _BadFramingError("a body where there can be none")
        response.add(body)

    def on_message_complete(self) -> None:
        """Take the end of the answer, but not of an interim one."""
        response = self._response
        assert response is not None
        if response.head_complete:
            response.end()

    def _count_head(self, count_bytes: int) -> None:
        self._head_bytes += count_bytes
        if self._head_bytes > HEAD_BYTES:
            raise _too_large()

    def _pause(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._paused = True
            transport.pause_reading()

    def _break(self, response: HttpResponse, error: Exception) -> None:
        if not response.complete:
            cause = error.__context__ if isinstance(error.__context__, _BadFramingError) else error
            fault = UpstreamFault(
                f"upstream `{self._name}` does not speak HTTP/1.1: {cause}",
                reason=Reason.UPSTREAM_INVALID,
                status=response.status or None,
            )
            fault.__cause__ = error
            response.fail(fault)
        self.abort()

    def _cut(self, what: str, *, sent: bool = True) -> UpstreamFault:
        status = self._response.status if self._response is not None else 0
        return UpstreamFault(
            f"upstream `{self._name}` {what}",
            reason=Reason.UPSTREAM_UNREACHABLE,
            status=status or None,
            sent=sent,
        )


def _too_large() -> _BadFramingError:
    return _BadFramingError(f"head of more than {HEAD_FIELDS} fields or {HEAD_BYTES} bytes")
