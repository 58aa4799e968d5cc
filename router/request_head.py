"""The head of a request to an upstream: what may be in it, and its bytes.

Nothing a client sends can add a field, end the head early, or leave the base path. What was
checked once is remembered: method and target, and names of fields.
"""

import re
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from router.address import Address
from router.config import RESERVED_FIELDS
from router.errors import Reason, UpstreamFault
from router.upstream import Headers, UpstreamRequest

Key = TypeVar("Key")

KNOWN_ENTRIES = 256  # field names, and targets, that are remembered to be sound
KNOWN_BYTES = 256  # longer ones are not remembered

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_PROTOCOL = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")
_TARGET = re.compile(rb"/[!\"$-~]*")
_SUSPECT = re.compile(rb"\.\.|/\.|%|\\|//")
_CONTROL = re.compile(rb"[\r\n\0]")
_BODILESS = frozenset({b"GET", b"HEAD"})  # no Content-Length is written for an empty body


class HeadBuilder:
    """Builds the heads of all requests to one upstream.

    Parameters
    ----------
    name : str
        What messages call the upstream.
    address : Address
    """

    __slots__ = (
        "_host_field",
        "_lines",
        "_name",
        "_names",
        "_prefix",
        "_root_lines",
        "_root_prefix",
    )

    def __init__(self, name: str, address: Address) -> None:
        self._name = name
        self._names: dict[bytes, bytes] = {}
        self._lines: dict[tuple[bytes, bytes], bytes] = {}
        self._root_lines: dict[tuple[bytes, bytes], bytes] = {}
        self._root_prefix = b" " + address.root_path.encode("ascii")
        self._prefix = b" " + address.base_path.encode("ascii")
        self._host_field = f" HTTP/1.1\r\nHost: {address.authority}".encode("ascii")

    def build(self, request: UpstreamRequest) -> bytes:
        """Return the head with its empty line.

        Raises
        ------
        UpstreamFault
            INVALID_REQUEST when method, target or fields cannot be sent as they are.
        """
        method, target, body = request.method, request.target, request.body
        lines = self._root_lines if request.root else self._lines
        start = lines.get((method, target)) or self._line(method, target, lines)
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
        if request.expect_continue and not isinstance(body, bytes) and length != 0:
            lines.append(b"Expect: 100-continue")
        return b"\r\n".join((*lines, b"", b""))

    def _line(self, method: bytes, target: bytes, lines: dict[tuple[bytes, bytes], bytes]) -> bytes:
        """Return the request line and Host, and remember them."""
        if _TOKEN.fullmatch(method) is None or method == b"CONNECT":
            raise self._unsendable(f"the method {method!r} is not one")
        if _TARGET.fullmatch(target) is None or (
            _SUSPECT.search(target) is not None and _leaves_base(target)
        ):
            raise self._unsendable(f"the target {target!r} is not a plain path")
        prefix = self._root_prefix if lines is self._root_lines else self._prefix
        line = b"".join((method, prefix, target, self._host_field))
        if b"?" not in target and len(target) <= KNOWN_BYTES:
            _remember(lines, (method, target), line)
        return line

    def _field_start(self, name: bytes) -> bytes:
        if name.lower() in RESERVED_FIELDS or _TOKEN.fullmatch(name) is None:
            raise self._unsendable(f"the header field {name!r} is not the caller's to send")
        start = b"\r\n" + name + b": "
        if len(name) <= KNOWN_BYTES:
            _remember(self._names, name, start)
        return start

    def _unsendable(self, why: str) -> UpstreamFault:
        return UpstreamFault(
            f"the request for upstream `{self._name}` was not sent: {why}",
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


def _leaves_base(target: bytes) -> bool:
    """Return True when a server could resolve a path to something above or beside the base."""
    path = target.partition(b"?")[0]
    if path.startswith(b"//"):
        return True
    plain = unquote_to_bytes(path).replace(b"\\", b"/")
    # Some servers cut `;parameters` off a segment before they resolve it.
    segments = [segment.partition(b";")[0] for segment in plain.split(b"/")]
    return b".." in segments or b"." in segments or _CONTROL.search(plain) is not None
