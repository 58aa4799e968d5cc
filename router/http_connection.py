"""One HTTP/1.1 connection to an upstream: an asyncio protocol over llhttp, and the answer on it.

Framing follows RFC 9112. Whatever that document calls ambiguous (both Content-Length and
Transfer-Encoding, repeated lengths) is an error here, never a guess, and a connection whose
last exchange did not end exactly where its framing said is never used again.
"""

import asyncio
import select
from typing import Protocol

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpResponseParser,
)

from router.errors import Reason, UpstreamFault
from router.http_response import HttpResponse
from router.line import Line
from router.tunnel import Tunnel
from router.upload import Upload
from router.upstream import Headers, UpstreamRequest

BUFFER_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024  # also of all that surrounds the parts of one body, trailers included
HEAD_FIELDS = 100
INTERIM_COST_BYTES = 1024  # what a 1xx answer counts against HEAD_BYTES, so that they end
JOINED_WRITE_BYTES = 64 * 1024
CHUNK_OVERHEAD_BYTES = 16  # around a part of the body that is no extension: size and line ends


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def give_back(self, connection: "HttpConnection", *, reusable: bool) -> None:
        """Take note that an exchange has ended, and whether another may follow."""
        ...

    def forget(self, connection: "HttpConnection") -> None:
        """Take note that the connection is closed; called once."""
        ...


class _BadFramingError(Exception):
    """Raised inside parser callbacks; the parser wraps it."""


class HttpConnection(Line):
    """One connection; carries one request at a time.

    Parameters
    ----------
    name : str
        What messages call the upstream; no credentials.
    owner : Owner
    loop : AbstractEventLoop
        The running one: in CPython 3.11 asking for it is a system call.
    """

    __slots__ = (
        "_head_bytes",
        "_keep_alive",
        "_name",
        "_owner",
        "_parser",
        "_poll",
        "_quiet_bytes",
        "_response",
        "_tunnel",
        "_upgrade",
        "upload",
    )

    def __init__(self, name: str, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.upload: Upload | None = None
        self._name = name
        self._owner = owner
        self._parser: HttpResponseParser | None = None
        self._response: HttpResponse | None = None
        self._tunnel: Tunnel | None = None
        self._poll = select.poll()
        self._upgrade = b""
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._keep_alive = False

    def start(self, head: bytes, request: UpstreamRequest) -> HttpResponse:
        """Send a request, or the head of one whose body is to be uploaded: see `upload`."""
        response = HttpResponse(self, self._loop, bodiless=request.method == b"HEAD")
        transport = self._transport
        if self.lost or transport is None or transport.is_closing():
            response.fail(self._cut("closed the connection before the request", sent=False))
            return response
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._response = response
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._keep_alive = False
        self._upgrade = request.upgrade
        body = request.body
        if not isinstance(body, bytes):
            if body.length != 0:
                self.upload = Upload(self, body, asks=request.expect_continue)
            transport.write(head)
        elif len(body) <= JOINED_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return response

    def end_exchange(self) -> None:
        """Hand the connection back to its owner, closed unless another request may follow."""
        response, transport, upload = self._response, self._transport, self.upload
        self._response = None
        reusable = (
            response is not None
            and response.complete
            and self._keep_alive
            and (upload is None or upload.complete)
            and transport is not None
            and not transport.is_closing()
            # A server may answer before it has taken the request; the rest must not linger.
            and not transport.get_write_buffer_size()
        )
        if reusable:
            self.upload = None
            if self._paused:
                self.resume()
        elif self._tunnel is None or not self._tunnel.closing:
            self.abort()
        self._owner.give_back(self, reusable=reusable)

    def is_quiet(self) -> bool:
        """Return True when the connection is open and no byte or EOF waits to be read on it."""
        transport = self._transport
        if self.lost or transport is None or transport.is_closing():
            return False
        return not self._poll.poll(0)

    def tunnel(self) -> Tunnel | None:
        """Return both directions of the connection, None when it still speaks HTTP."""
        return self._tunnel

    def break_off(self, error: BaseException) -> None:
        """Cut the connection: the rest of the request will never come."""
        if self._response is not None:
            self._response.fail(error)
        self.abort()

    def abort(self) -> None:
        """Close at once, without flushing. Idempotent."""
        if self.upload is not None:
            self.upload.cancel()
        super().abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        super().connection_made(transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; bytes that answer nothing cost the connection its life."""
        response = self._response
        parser = self._parser
        if response is None or parser is None:
            if self._tunnel is not None:
                self._tunnel.feed(data)
            else:
                self.abort()
            return
        response.started = True
        self._quiet_bytes += len(data)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as error:
            self._switch(response, error, data)
        except HttpParserError as error:
            self._break(response, error)
        else:
            if self._quiet_bytes < 0:
                self._quiet_bytes = 0
            elif self._quiet_bytes > HEAD_BYTES and not response.complete:
                self._break(response, _too_large())
            if response.buffered_bytes > BUFFER_BYTES:
                self.pause()

    def eof_received(self) -> None:
        """End a body that only the end of the connection ends; the transport closes itself."""
        response = self._response
        if response is not None and response.ends_with_connection():
            response.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader, and the pool."""
        super().connection_lost(exc)
        self._parser = None
        if self.upload is not None:
            self.upload.cancel()
        if self._tunnel is not None:
            self._tunnel.end()
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
        """Take a header field; trailer fields are dropped."""
        response = self._response
        assert response is not None
        if response.head_complete:
            return
        headers = response.headers
        if len(headers) >= HEAD_FIELDS:
            raise _too_large()
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the status, or skip an interim answer."""
        response, parser = self._response, self._parser
        assert response is not None
        assert parser is not None
        status = parser.get_status_code()
        if self._quiet_bytes > HEAD_BYTES:
            # What came with the head's last bytes is not the head's: now it can be counted.
            self._count_head(sum(len(name) + len(value) + 4 for name, value in response.headers))
        if status < 200:
            self._take_interim(response, status)
            return
        self._quiet_bytes = 0
        _check_coding(response.headers)
        self._keep_alive = parser.should_keep_alive()
        upload = self.upload
        if upload is not None and not upload.complete and (upload.asking or status >= 300):
            # The answer does not wait for the rest; the framing of the request stays open.
            upload.cancel()
            self._keep_alive = False
        response.begin_body(status)
        if response.complete:
            # This parser waits for a body that the head announces and that never comes.
            self._parser = None

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        response = self._response
        assert response is not None
        self._quiet_bytes -= len(body) + CHUNK_OVERHEAD_BYTES
        sink = response.sink
        if sink is not None:
            # An error of the sink comes back out of `feed_data`.
            response.held = True
            if sink(body):
                response.held = False
            elif response.held:
                response.sink = None
            return
        if response.complete:
            raise _BadFramingError("a body where there can be none")
        response.add(body)

    def on_message_complete(self) -> None:
        """Take the end of the answer, but not of an interim one."""
        response = self._response
        assert response is not None
        if response.head_complete:
            response.end()

    def _take_interim(self, response: HttpResponse, status: int) -> None:
        if status == 101 and self._agrees(response):
            response.begin_body(status)
        elif status in {100, 102, 103}:
            if status == 100 and self.upload is not None:
                self.upload.go_on()
            response.headers.clear()
            self._count_head(INTERIM_COST_BYTES)
        else:
            raise _BadFramingError(f"status {status}, which nobody asked for")

    def _agrees(self, response: HttpResponse) -> bool:
        """Say whether a 101 changes to the protocol that was asked for."""
        asked, parser = self._upgrade.lower(), self._parser
        if not asked or parser is None or not parser.should_upgrade():
            return False
        given = [value for name, value in response.headers if name.lower() == b"upgrade"]
        return [value.strip().lower() for value in given] == [asked]

    def _switch(self, response: HttpResponse, error: HttpParserUpgrade, data: bytes) -> None:
        """Leave HTTP behind a 101; bytes that came with it belong to the tunnel."""
        if response.status != 101:
            self._break(response, error)
            return
        self._parser = None
        self._tunnel = Tunnel(self, self._loop, data[error.args[0] :])

    def _count_head(self, count_bytes: int) -> None:
        self._head_bytes += count_bytes
        if self._head_bytes > HEAD_BYTES:
            raise _too_large()

    def _break(self, response: HttpResponse, error: Exception) -> None:
        cause = error.__context__
        if response.complete:
            pass
        elif isinstance(error, HttpParserCallbackError) and not isinstance(cause, _BadFramingError):
            response.fail(cause or error)
        else:
            cause = cause if isinstance(cause, _BadFramingError) else error
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
    return _BadFramingError(
        f"more than {HEAD_FIELDS} fields, or {HEAD_BYTES} bytes of head or around the body's chunks"
    )


def _check_coding(headers: Headers) -> None:
    """Refuse a body whose end or meaning would be guessed (RFC 9112, section 6.1)."""
    for name, value in headers:
        if len(name) == 17 and name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            raise _BadFramingError("a Transfer-Encoding other than `chunked`")
