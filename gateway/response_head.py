"""Response heads as bytes, and the refusals that a server answers by itself."""

import math
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


TOO_MANY_OF_CLIENT = Refusal(
    429,
    "your address has as many connections to this worker as"
    " `gateway.limits.connections_per_client` allows; close some, or use them again",
    Reason.OVERLOADED,
    "rate_limit_error",
)
HEAD_TIMEOUT = Refusal(
    408,
    "the request head did not arrive within `gateway.limits.header_timeout`",
    Reason.REQUEST_TIMEOUT,
)

_COLON = b": "

CLOSE = b"connection: close\r\n"


class ResponseHeads:
    """Writes heads; keeps the status lines with the Date of the current second."""

    __slots__ = ("_clock", "_monotonic", "_prefixes", "_until_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self._until_s = -math.inf
        self._prefixes: dict[int, bytes] = {}

    def head(self, status: int, headers: Headers, framing: bytes) -> bytes:
        """Return status line, Date, fields and the empty line.

        Parameters
        ----------
        status : int
        headers : list of (bytes, bytes)
        framing : bytes
            Whole lines that say how the answer ends (RFC 9112, section 6.3).

        Raises
        ------
        ValueError
            A field holds a line break or NUL: the answer would be split in two.
        """
        if self._monotonic() >= self._until_s:
            self._turn()
        prefix = self._prefixes.get(status) or self._prefix(status)
        if not headers:
            return b"%b%b\r\n" % (prefix, framing)
        fields = b"\r\n".join(map(_COLON.join, headers))
        # Every line break splits, paired or not, so a stray one makes a line too many.
        if len(fields.splitlines()) != len(headers) or b"\0" in fields or fields[-1] in b"\r\n":
            raise ValueError("a response header contains a line break or NUL")
        return b"%b%b\r\n%b\r\n" % (prefix, fields, framing)

    def refusal(self, status: int, body: bytes) -> bytes:
        """Return a whole answer after which the connection closes."""
        framing = b"content-length: %d\r\n%b" % (len(body), CLOSE)
        return self.head(status, refusal_headers(status), framing) + body

    def switching(self, headers: Headers, protocol: bytes) -> bytes:
        """Return the head of an answer that switches protocols (RFC 9110, section 15.2.2)."""
        return self.head(101, [*headers, (b"upgrade", protocol)], b"connection: Upgrade\r\n")

    def _turn(self) -> None:
        """Forget the Date until the wall clock's next second."""
        self._prefixes.clear()
        left_us = 1_000_000 - self._clock.now_us() % 1_000_000
        self._until_s = self._monotonic() + left_us / 1e6

    def _prefix(self, status: int) -> bytes:
        date = formatdate(self._clock.now_us() // 1_000_000, usegmt=True)
        prefix = f"HTTP/1.1 {status} {_phrase(status)}\r\ndate: {date}\r\n".encode("latin-1")
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
    if status in {429, 503}:
        headers.append((b"retry-after", b"1"))
    return headers
