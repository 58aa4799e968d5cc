"""Reads requests off one connection: llhttp parses, this judges what llhttp lets pass."""

import re
from typing import Protocol, cast

import msgspec
from httptools import (
    HttpParserError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from gateway.config import LimitsConfig
from gateway.response_head import Refusal
from router.clock import Clock
from router.errors import Reason
from router.upstream import Headers

VERSIONS = "this server speaks HTTP/1.1 and HTTP/1.0"

TARGET_BYTES = 8_192
"""Longest request target (RFC 9110, section 4.1 asks for at least 8000)."""

CHUNK_OVERHEAD_BYTES = 16
"""Around the data of a chunk that is no extension: its size and two line ends."""

SLICE_BYTES = 16_384
"""Most bytes that may be given to `RequestReader.feed` at once: bounds what one call yields."""

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_SINGLE_FIELDS = (b"host", b"content-length", b"transfer-encoding", b"expect", b"content-type")
# Those of tunnels, RTSP, Icecast and HTTP/2, all of which llhttp reads.
_FOREIGN_METHODS = frozenset(
    b"CONNECT SOURCE PRI DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER"
    b" REDIRECT RECORD FLUSH".split()
)
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:/[A-Za-z0-9!#$%&'*+.^_`|~-]+)?")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class RequestHead(msgspec.Struct, gc=False):
    """A request head that passed every check.

    Attributes
    ----------
    fields : dict
        First value of each field by lower-case name.
    http11 : bool
        False for HTTP/1.0.
    keep_alive : bool
        What the client asked for.
    started_s : float
        `Clock.monotonic` when its first byte was read.
    upgrade : bytes
        Protocol of a sound upgrade request, in lower case, else b"".
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    fields: dict[bytes, bytes]
    http11: bool
    keep_alive: bool
    started_s: float
    upgrade: bytes


class BodySink(Protocol):
    """What takes the body of one request."""

    def add_body(self, data: bytes) -> None:
        """Take a part."""
        ...

    def end_body(self) -> None:
        """Note that the request is complete."""
        ...


class RequestSink(Protocol):
    """What is told about requests as they are read."""

    def head_read(self, head: RequestHead) -> BodySink:
        """Take a new request, and say who takes its body."""
        ...

    def rest_read(self, data: bytes | memoryview) -> None:
        """Take what follows the head of a sound upgrade request."""
        ...


def split_target(target: bytes) -> tuple[str, bytes] | None:
    """Return path and query of a request target, None if it has no meaning here.

    Origin form and ``*`` as they are; of the absolute form the authority is dropped, as Host
    says the same and neither decides anything (RFC 9112, section 3.2).
    """
    if not target.startswith(b"/") and target != b"*":
        authority = _ABSOLUTE.match(target)
        if authority is None:
            return None
        target = target[authority.end() :]
        if not target.startswith(b"/"):
            target = b"/" + target
    if b"#" in target:
        return None
    path, _, query = target.partition(b"?")
    return path.decode("latin-1"), query


def refusal_of_parser(error: HttpParserError) -> Refusal:
    """Return what the client is told about bytes that llhttp refused."""
    reason = str(error)
    if reason == "Invalid HTTP version" or "PRI" in reason or "HTTP/2" in reason:
        return Refusal(400, VERSIONS)
    if isinstance(error, HttpParserInvalidURLError):
        reason = "the request target contains a character that must be percent-encoded"
    return Refusal(400, f"the bytes received are not an HTTP/1.1 request: {reason}")


def _framing(index: dict[bytes, bytes]) -> bytes:
    if b"transfer-encoding" in index:
        return b"transfer-encoding: chunked\r\n\r\n"
    return b"content-length: %b\r\n\r\n" % index.get(b"content-length", b"0")


def _sound_upgrade(headers: Headers, index: dict[bytes, bytes]) -> bytes:
    """Return the one protocol offered by a request without a body, else b"" (RFC 9110, 7.8)."""
    if b"transfer-encoding" in index or int(index.get(b"content-length", b"0")):
        return b""
    offers = [value for name, value in headers if name.lower() == b"upgrade"]
    if len(offers) != 1 or _TOKEN.fullmatch(offers[0]) is None:
        return b""
    return offers[0].lower()


class RequestReader:
    """One connection's parser. After a refusal it must not be fed again."""

    __slots__ = (
        "_body",
        "_framing",
        "_headers",
        "_host",
        "_known_target",
        "_limits",
        "_monotonic",
        "_parser",
        "_progressed",
        "_quiet_bytes",
        "_refusal",
        "_sink",
        "_split",
        "_target",
        "_upgrading",
        "in_message",
        "started_s",
    )

    def __init__(self, sink: RequestSink, *, limits: LimitsConfig, clock: Clock) -> None:
        self._sink = sink
        self._body = cast("BodySink", None)
        self._limits = limits
        self._monotonic = clock.monotonic
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._target = b""
        self._known_target = b""
        self._split: tuple[str, bytes] | None = None
        self._headers: Headers = []
        self._framing = b""
        self._host: bytes | None = None
        self._refusal: Refusal | None = None
        self._progressed = False
        self._upgrading = False
        self._quiet_bytes = 0
        self.in_message = False
        self.started_s = 0.0

    def close(self) -> None:
        """Let go of the parser, which holds this object in a cycle."""
        self._parser = None

    def feed(self, data: bytes | memoryview) -> Refusal | None:
        """Parse at most `SLICE_BYTES`; return why nothing more can be read, if so."""
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as error:
            rest = data[error.args[0] :]
            if not self._upgrading:
                self._sink.rest_read(rest)
                return None
            return self._resume(rest)
        except HttpParserError as error:
            return self._refusal or refusal_of_parser(error)
        if self._progressed:
            self._progressed = False
            self._quiet_bytes = 0
            return None
        # Heads, trailers and chunk extensions may be as heavy as a head, in all: what many small
        # chunks are allowed is not saved up for later.
        self._quiet_bytes = max(0, self._quiet_bytes + len(data))
        if self._quiet_bytes > self._limits.header_bytes:
            return self._too_large_head()
        return None

    def _resume(self, rest: bytes | memoryview) -> Refusal | None:
        """Read the body of a request that offered an upgrade, which is not taken with a body.

        llhttp takes what follows such a head for the other protocol. A second parser is shown
        the same framing in a head of our own; nothing is read after this request.
        """
        self._parser = HttpRequestParser(_BodyOnly(self))
        self._parser.feed_data(b"POST / HTTP/1.1\r\nconnection: close\r\n" + self._framing)
        return self.feed(rest) if rest else None

    def on_message_begin(self) -> None:
        """Start a request at its first byte."""
        self._progressed = True
        self.in_message = True
        self.started_s = self._monotonic()
        self._target = b""
        self._headers = []

    def on_url(self, part: bytes) -> None:
        """Collect the request target."""
        self._target = self._target + part if self._target else part
        if len(self._target) > TARGET_BYTES:
            self._refuse(
                414,
                f"the request target is longer than {TARGET_BYTES} bytes",
                Reason.REQUEST_TOO_LARGE,
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field; trailers come here too and are dropped with the finished head."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head and hand it on."""
        parser, headers = self._parser, self._headers
        assert parser is not None
        version = parser.get_http_version()
        http11 = version == "1.1"
        if not http11 and version != "1.0":
            self._refuse(400, VERSIONS)
        self._check_size()
        # Backwards, so that the first value of a name stays.
        index = {name.lower(): value for name, value in reversed(headers)}
        self._check_fields(index, http11=http11)
        method = parser.get_method()
        if self._target != self._known_target:
            # Kept: a client asks for the same again and again.
            self._known_target, self._split = self._target, split_target(self._target)
        target = self._split
        if method in _FOREIGN_METHODS:
            self._refuse(405, f"{method.decode()} is no method of this server")
        if target is None:
            self._refuse(400, "the request target is neither a path nor a URL")
            return
        keep_alive, upgrade = parser.should_keep_alive(), b""
        if parser.should_upgrade():
            # Whether the upgrade is taken or not, nothing after it is read as a request.
            keep_alive = False
            upgrade = _sound_upgrade(headers, index) if http11 else b""
            self._upgrading = not upgrade
            self._framing = _framing(index)
        path, query = target
        started_s = self.started_s
        head = RequestHead(
            str(method, "ascii"),
            path,
            query,
            headers,
            index,
            http11,
            keep_alive,
            started_s,
            upgrade,
        )
        self._progressed = True
        # Trailers must not be added to a head that somebody reads already.
        self._headers = []
        self._body = self._sink.head_read(head)

    def on_body(self, data: bytes) -> None:
        """Pass on a part of the body."""
        # What frames the parts is counted until the body ends, but for a plain size of each.
        self._quiet_bytes -= len(data) + CHUNK_OVERHEAD_BYTES
        self._body.add_body(data)

    def on_message_complete(self) -> None:
        """End the request."""
        if not self._upgrading:
            self.end_message()

    def end_message(self) -> None:
        """Tell the sink that the request is complete."""
        self._progressed = True
        self.in_message = False
        self._body.end_body()

    def _check_size(self) -> None:
        limits = self._limits
        if len(self._headers) > limits.header_count:
            self._refuse(
                431,
                f"the request has {len(self._headers)} header fields, "
                f"more than the {limits.header_count} of `gateway.limits.header_count`",
                Reason.REQUEST_TOO_LARGE,
            )
        # A head that came in two slices or fewer cannot be longer than they are.
        if self._quiet_bytes + 2 * SLICE_BYTES > limits.header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in self._headers)
            if size + len(self._target) > limits.header_bytes:
                self._refusal = self._too_large_head()
                raise HttpParserError(self._refusal.message)

    def _check_fields(self, index: dict[bytes, bytes], *, http11: bool) -> None:
        host = index.get(b"host")
        if len(index) != len(self._headers):
            self._check_doubled()
        if host is None:
            if http11:
                self._refuse(400, "an HTTP/1.1 request must have a Host field")
        elif host != self._host:
            if _HOST.fullmatch(host) is None:
                self._refuse(400, "the Host field is not a host name with an optional port")
            self._host = host
        coding = index.get(b"transfer-encoding")
        if coding is not None:
            self._check_coding(coding.lower(), http11=http11)
        expect = index.get(b"expect")
        if http11 and expect is not None and expect.lower() != b"100-continue":
            self._refuse(417, "the only expectation understood is `100-continue`")

    def _check_doubled(self) -> None:
        names = [name.lower() for name, _ in self._headers]
        for field in _SINGLE_FIELDS:
            if names.count(field) > 1:
                label = field.decode().title()
                self._refuse(400, f"the request has more than one {label} field")

    def _check_coding(self, coding: bytes, *, http11: bool) -> None:
        if not http11:
            self._refuse(400, "an HTTP/1.0 request cannot have a Transfer-Encoding")
        elif coding.rpartition(b",")[2].strip() != b"chunked":
            self._refuse(400, "the last Transfer-Encoding of a request must be `chunked`")
        elif coding != b"chunked":
            self._refuse(400, "the only Transfer-Encoding understood is `chunked`")

    def _too_large_head(self) -> Refusal:
        return Refusal(
            431,
            "the header block, or what surrounds the chunks of the body, is larger than the"
            f" {self._limits.header_bytes} bytes of `gateway.limits.header_bytes`",
            Reason.REQUEST_TOO_LARGE,
        )

    def _refuse(self, status: int, message: str, reason: Reason = Reason.INVALID_REQUEST) -> None:
        self._refusal = Refusal(status, message, reason)
        raise HttpParserError(message)


class _BodyOnly:
    """Callbacks of the parser that reads a body without its head."""

    def __init__(self, reader: RequestReader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.end_message
