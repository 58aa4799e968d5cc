"""Response heads as bytes, and the refusals that a server answers by itself."""

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from gateway.errors import RequestError, error_body
from router.clock import Clock
from router.errors import Reason
from router.upstream import Headers


class Refusal(NamedTuple):
    """Why a request is answered with an error by the server itself."""

    status: int
    message: str
    reason: Reason = Reason.INVALID_REQUEST
    type: str = "invalid_request_error"
    param: str | None = None


ServerError = Callable[[str, Refusal], bytes]
"""Writes the JSON body of a refusal; gets the request's path, "" when none was read."""


def openai_error(path: str, refusal: Refusal) -> bytes:  # noqa: ARG001 - one shape for all paths
    """Return a refusal as OpenAI writes errors, whatever the path."""
    return error_body(refusal.message, type_=refusal.type, code=refusal.reason, param=refusal.param)


def refusal_of(error: RequestError) -> Refusal:
    """Return what the client of a refused request is told."""
    return Refusal(error.status, str(error), error.reason, error.type, error.param)


INTERNAL = Refusal(
    500, "the gateway failed to handle this request", Reason.INTERNAL, "server_error"
)
TOO_MANY_CONNECTIONS = Refusal(
    503,
    "this worker has as many connections as `gateway.limits.connections` allows; try again",
    Reason.OVERLOADED,
    "server_error",
)


class Framing(NamedTuple):
    """How the end of an answer is found (RFC 9112, section 6.3).

    Attributes
    ----------
    length : int or None
        Written as Content-Length unless None.
    chunked : bool
    connection : bytes
        Value of the Connection field, empty for none.
    """

    length: int | None
    chunked: bool
    connection: bytes


class ResponseHeads:
    """Writes heads; keeps the status lines with the Date of the current second."""

    __slots__ = ("_clock", "_prefixes", "_second")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._prefixes: dict[int, bytes] = {}

    def head(self, status: int, headers: Headers, framing: Framing) -> bytes:
        """Return status line, Date, fields and the empty line.

        Raises
        ------
        ValueError
            A field holds a line break or NUL: the answer would be split in two.
        """
        parts = [self._prefix(status)]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        lines = len(headers) + 3
        if framing.length is not None:
            parts.append(b"content-length: %d\r\n" % framing.length)
            lines += 1
        elif framing.chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        if framing.connection:
            parts += (b"connection: ", framing.connection, b"\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise ValueError("a response header contains a line break or NUL")
        return head

    def refusal(self, status: int, body: bytes) -> bytes:
        """Return a whole answer after which the connection closes."""
        framing = Framing(len(body), chunked=False, connection=b"close")
        return self.head(status, refusal_headers(status), framing) + body

    def switching(self, headers: Headers, protocol: bytes) -> bytes:
        """Return the head of an answer that switches protocols (RFC 9110, section 15.2.2)."""
        framing = Framing(None, chunked=False, connection=b"Upgrade")
        return self.head(101, [*headers, (b"upgrade", protocol)], framing)

    def _prefix(self, status: int) -> bytes:
        second = self._clock.now_us() // 1_000_000
        if second != self._second:
            self._second = second
            self._prefixes.clear()
        prefix = self._prefixes.get(status)
        if prefix is None:
            line = f"HTTP/1.1 {status} {_phrase(status)}\r\n"
            prefix = f"{line}date: {formatdate(second, usegmt=True)}\r\n".encode("latin-1")
            self._prefixes[status] = prefix
        return prefix


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def refusal_headers(status: int) -> Headers:
    """Return the fields of a refusal: JSON, and when to come back if it is about load."""
    headers: Headers = [(b"content-type", b"application/json")]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    return headers
