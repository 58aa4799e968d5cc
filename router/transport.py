"""The HTTP/1.1 client behind `router.upstream.Upstream`: http, https and Unix sockets."""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

from router.clock import Clock
from router.config import RESERVED_FIELDS, UpstreamConfig
from router.errors import Reason, UpstreamFault
from router.http_connection import HttpConnection, Owner
from router.http_response import HttpResponse
from router.pool import IDLE_TIMEOUT_S, ConnectionPool
from router.tasks import TaskSet
from router.upstream import Headers, UpstreamRequest, UpstreamStatistics

Key = TypeVar("Key")

UNIX_BASE_PATH = "/v1"
KNOWN_ENTRIES = 256  # field names, and targets, an upstream remembers to be sound
KNOWN_BYTES = 256  # longer ones are not remembered
STALE_WITHIN_S = 1.0  # a kept-alive connection that fails later was not stale but broke

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_TARGET = re.compile(rb"/[!\"$-~]*")
_SUSPECT = re.compile(rb"\.\.|/\.|%|\\|//")
_PROTOCOL = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")
_BODILESS = frozenset({b"GET", b"HEAD"})  # no Content-Length is written for an empty body
_CONTROL = re.compile(rb"[\r\n\0]")


@dataclass(slots=True, frozen=True)
class Address:
    """Where an upstream listens.

    Attributes
    ----------
    host, port : str, int
        Empty and 0 for a Unix socket.
    socket_path : str or None
        Path of the Unix socket.
    tls : bool
    authority : str
        Value of the Host field.
    base_path : str
        Percent-encoded, without a slash at its end.
    """

    host: str
    port: int
    socket_path: str | None
    tls: bool
    authority: str
    base_path: str


def parse_address(
    config: UpstreamConfig, *, socket_path: str | None = None, base_path: str | None = None
) -> Address:
    """Return where the upstream of a configuration listens.

    Parameters
    ----------
    config : UpstreamConfig
    socket_path : str, optional
        Connect to this Unix socket, whatever `config.url` says; needed for an engine, which
        has no URL.
    base_path : str, optional
        Replaces the path of `config.url`. A Unix socket's URL has no room for a base path, so
        there it is `/v1` unless given here.

    Raises
    ------
    ValueError
        The URL has an impossible host or port, or there is neither URL nor socket.
    """
    key = f"upstreams.{config.name}.url"
    parts = urlsplit(config.url or "unix:")
    if parts.scheme == "unix":
        path = socket_path or parts.path
        if not path:
            raise ValueError(f"`{key}` is missing, and no socket was given")
        base = UNIX_BASE_PATH if base_path is None else base_path
        return Address("", 0, path, tls=False, authority="localhost", base_path=_path(base))
    tls = parts.scheme == "https"
    try:
        port = parts.port
        host = (parts.hostname or "").encode("idna" if not _is_ipv6(parts.hostname) else "ascii")
    except ValueError as error:
        raise ValueError(f"`{key}` is `{config.url}`: {error}") from error
    name = host.decode("ascii")
    shown = f"[{name}]" if ":" in name else name
    default = 443 if tls else 80
    authority = shown if port in {None, default} else f"{shown}:{port}"
    base = _path(parts.path if base_path is None else base_path)
    return Address(name, port or default, socket_path, tls, authority, base)


def tls_context(config: UpstreamConfig) -> ssl.SSLContext:
    """Return the trust settings of an https upstream.

    Raises
    ------
    ValueError
        `ca_file` cannot be read.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if config.ca_file is not None:
        try:
            context.load_verify_locations(cafile=config.ca_file)
        except OSError as error:
            raise ValueError(
                f"`upstreams.{config.name}.ca_file` is `{config.ca_file}`: {error}; it must be "
                "a readable PEM file of certificates"
            ) from error
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpUpstream:
    """A model server reached by HTTP/1.1; implements `router.upstream.Upstream`.

    `config.headers` and credentials are the caller's to add: `send` writes the caller's fields,
    Host, Content-Length and, unless the caller asks otherwise, `Accept-Encoding: identity`.

    Parameters
    ----------
    config : UpstreamConfig
    clock : Clock
    socket_path, base_path : str, optional
        As in `parse_address`.
    idle_timeout_s : float
        Connections idle for longer are closed.

    Raises
    ------
    ValueError
        As `parse_address` and `tls_context`.
    """

    __slots__ = (
        "_address",
        "_clock",
        "_host_field",
        "_lines",
        "_names",
        "_pool",
        "_prefix",
        "_tasks",
        "_tls",
        "name",
    )

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        clock: Clock,
        socket_path: str | None = None,
        base_path: str | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self.name = config.name
        self._address = parse_address(config, socket_path=socket_path, base_path=base_path)
        self._tls = tls_context(config) if self._address.tls else None
        self._pool = ConnectionPool(config, self._connect, clock, idle_timeout_s=idle_timeout_s)
        self._clock = clock
        self._names: dict[bytes, bytes] = {}
        self._lines: dict[tuple[bytes, bytes], bytes] = {}
        self._tasks = TaskSet()
        self._prefix = b" " + self._address.base_path.encode("ascii")
        self._host_field = f" HTTP/1.1\r\nHost: {self._address.authority}".encode("ascii")

    async def send(self, request: UpstreamRequest, *, connect_timeout_s: float) -> HttpResponse:
        """Send a request and return when the head of the answer has arrived.

        When a connection that was kept alive turns out to be closed at once, and no byte of an
        answer came, the request is sent once more on a new connection. Later failures are the
        caller's to judge: by then the upstream may have worked on the request.

        Raises
        ------
        UpstreamFault
            INVALID_REQUEST when target, method or fields cannot be sent as they are (a line
            break in a value, a target that leaves the base path); UPSTREAM_BUSY when no
            connection is free; UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT, UPSTREAM_INVALID.
        """
        head = self._head(request)
        connection = self._pool.take_idle()
        reused = connection is not None
        if connection is None:
            connection, reused = await self._pool.acquire(connect_timeout_s)
        while True:
            sent_s = self._clock.monotonic()
            response = connection.start(head, request)
            upload = connection.upload
            if upload is not None:
                upload.started_as(self._tasks.start(upload.run()))
            try:
                await response.arrived
            except BaseException:
                response.release()
                raise
            if response.head_complete:
                return response
            response.release()
            fault = response.fault
            assert fault is not None
            late = self._clock.monotonic() - sent_s > STALE_WITHIN_S
            consumed = upload is not None and upload.consumed
            if not reused or response.started or late or consumed:
                raise fault
            connection, reused = await self._pool.acquire(connect_timeout_s, fresh=True)

    def statistics(self) -> UpstreamStatistics:
        """Return the pool's numbers."""
        return self._pool.statistics()

    def retire(self) -> None:
        """Keep no connection from now on: a reload has put another client in this one's place."""
        self._pool.retire()

    async def aclose(self) -> None:
        """Close every connection; later requests are refused."""
        await self._pool.aclose()
        await self._tasks.cancel()

    def _head(self, request: UpstreamRequest) -> bytes:
        method, target, body = request.method, request.target, request.body
        start = self._lines.get((method, target)) or self._line(method, target)
        headers, names = request.headers, self._names
        try:
            fields = [names[name] + value for name, value in headers]
        except KeyError:
            fields = [self._field_start(name) + value for name, value in headers]
        head = start + b"".join(fields)
        breaks = len(fields) + 1
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
            raise self._unsendable(_broken(headers))
        if b"\r\naccept-encoding: " not in head.lower():
            head += b"\r\nAccept-Encoding: identity"
        if not isinstance(body, bytes) or request.upgrade:
            return head + self._special_fields(request)
        if body or method not in _BODILESS:
            return b"%b\r\nContent-Length: %d\r\n\r\n" % (head, len(body))
        return head + b"\r\n\r\n"

    def _special_fields(self, request: UpstreamRequest) -> bytes:
        """Return the last fields of a request with an upgrade, or with a body not held."""
        body, upgrade = request.body, request.upgrade
        lines = [b""]
        if upgrade:
            if _PROTOCOL.fullmatch(upgrade) is None:
                raise self._unsendable(f"the protocol {upgrade!r} is not one")
            lines += [b"Connection: Upgrade", b"Upgrade: " + upgrade]
        length = len(body) if isinstance(body, bytes) else body.length
        if length is None:
            lines.append(b"Transfer-Encoding: chunked")
        elif length or request.method not in _BODILESS:
            lines.append(b"Content-Length: %d" % length)
        if request.expect_continue and not isinstance(body, bytes):
            lines.append(b"Expect: 100-continue")
        return b"\r\n".join((*lines, b"", b""))

    def _line(self, method: bytes, target: bytes) -> bytes:
        """Return the request line and Host, and remember them."""
        if _TOKEN.fullmatch(method) is None or method == b"CONNECT":
            raise self._unsendable(f"the method {method!r} is not one")
        if _TARGET.fullmatch(target) is None or (
            _SUSPECT.search(target) is not None and _leaves_base(target)
        ):
            raise self._unsendable(f"the target {target!r} is not a plain path")
        line = b"".join((method, self._prefix, target, self._host_field))
        if b"?" not in target and len(target) <= KNOWN_BYTES:
            _remember(self._lines, (method, target), line)
        return line

    def _field_start(self, name: bytes) -> bytes:
        if name.lower() in RESERVED_FIELDS or _TOKEN.fullmatch(name) is None:
            raise self._unsendable(f"the header field {name!r} is not the caller's to send")
        start = b"\r\n" + name + b": "
        if len(name) <= KNOWN_BYTES:
            _remember(self._names, name, start)
        return start

    async def _connect(self, owner: Owner) -> HttpConnection:
        loop = asyncio.get_running_loop()
        address = self._address
        connection = HttpConnection(self.name, owner, loop)
        factory = partial(_same, connection)
        try:
            with _translated(self.name, address):
                if address.socket_path is not None:
                    await loop.create_unix_connection(
                        factory,
                        address.socket_path,
                        ssl=self._tls,
                        server_hostname=address.host if self._tls else None,
                    )
                else:
                    await loop.create_connection(
                        factory,
                        address.host,
                        address.port,
                        ssl=self._tls,
                        server_hostname=address.host if self._tls else None,
                    )
        except BaseException:
            # The loop may have made the connection in the turn in which the task was cancelled.
            connection.abort()
            raise
        return connection

    def _unsendable(self, why: str) -> UpstreamFault:
        return UpstreamFault(
            f"the request for upstream `{self.name}` was not sent: {why}",
            reason=Reason.INVALID_REQUEST,
            sent=False,
        )


def _remember(known: dict[Key, bytes], key: Key, value: bytes) -> None:
    if len(known) >= KNOWN_ENTRIES:
        # Clients choose these: what is in use comes back, made-up ones do not.
        known.clear()
    known[key] = value


def _broken(headers: Headers) -> str:
    """Name the field whose value has control bytes; the value may be a credential."""
    names = [name for name, value in headers if _CONTROL.search(value) is not None]
    return f"the value of the header field {names[0]!r} has control bytes"


def _same(connection: HttpConnection) -> HttpConnection:
    return connection


def _is_ipv6(host: str | None) -> bool:
    return host is not None and ":" in host


def _path(path: str) -> str:
    return quote(path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._")


def _leaves_base(target: bytes) -> bool:
    """Return True when a server could resolve a path to something above or beside the base."""
    path = target.partition(b"?")[0]
    if path.startswith(b"//"):
        return True
    plain = unquote_to_bytes(path).replace(b"\\", b"/")
    # Some servers cut `;parameters` off a segment before they resolve it.
    segments = [segment.partition(b";")[0] for segment in plain.split(b"/")]
    return b".." in segments or b"." in segments or _CONTROL.search(plain) is not None


@contextmanager
def _translated(name: str, address: Address) -> Iterator[None]:
    """Turn what sockets, resolvers and TLS raise into faults of the connect phase."""
    where = address.socket_path or f"{address.authority} (port {address.port})"
    reason = Reason.UPSTREAM_UNREACHABLE
    try:
        yield
    except ssl.SSLError as error:
        cause: Exception = error
        what = f"TLS with {where} failed: {error.reason or error}"
    except socket.gaierror as error:
        cause, what = error, f"`{address.host}` cannot be resolved: {error.strerror}"
    except TimeoutError as error:
        cause, what, reason = error, f"{where} does not answer", Reason.UPSTREAM_TIMEOUT
    except (OSError, UnicodeError) as error:
        cause, what = error, f"cannot connect to {where}: {error}"
    else:
        return
    raise UpstreamFault(
        f"upstream `{name}`: {what}", reason=reason, sent=False, connect_phase=True
    ) from cause
