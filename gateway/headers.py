"""Which headers go through, both ways: `docs/headers.md` is this module in words."""

from router.upstream import Headers

_HOP_BY_HOP = frozenset(
    {
        # RFC 9110 §7.6.1: between two neighbours only.
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # Written anew for each connection.
        b"content-length",
    }
)
CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"})
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"host",
    b"expect",
    b"accept-encoding",
    # They are for this gateway, as are the credentials; each upstream has its own.
    b"cookie",
    b"forwarded",
    b"traceparent",
    b"http2-settings",
    # What proxies tell of the client and of the path: nobody here has said it.
    b"x-real-ip",
    b"x-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"x-original-url",
    b"x-rewrite-url",
    b"x-original-host",
    b"x-http-method-override",
}
_NOT_FORWARDED_PREFIXES = (b"x-driftgate-", b"x-forwarded-")
_NOT_ANSWERED = _HOP_BY_HOP | {
    # Who serves, when and how is for this gateway to say.
    b"alt-svc",
    b"authorization",
    b"clear-site-data",
    b"date",
    b"nel",
    b"public-key-pins",
    b"refresh",
    b"report-to",
    b"reporting-endpoints",
    b"server",
    b"set-cookie",
    b"set-cookie2",
    b"strict-transport-security",
    b"traceparent",
    b"tracestate",
    b"via",
    # A client that followed it would leave this gateway, with its key.
    b"location",
    # Commands to a proxy in front of this one.
    b"x-accel-redirect",
    b"x-sendfile",
    b"x-powered-by",
}
_NOT_ANSWERED_PREFIXES = (b"access-control-", b"x-driftgate-", b"x-forwarded-", b"proxy-")
_USUAL = frozenset({b"keep-alive", b"close", b"upgrade"})
_SUBPROTOCOL = b"sec-websocket-protocol"
_KEY_IN_SUBPROTOCOL = b"openai-insecure-api-key."
BEARER = frozenset({b"authorization"})
_NOTHING: frozenset[bytes] = frozenset()


def to_upstream(
    headers: Headers, *, keep_credentials: bool, kept: frozenset[bytes] = BEARER
) -> Headers:
    """Return the client's headers that an upstream may see, in order.

    Parameters
    ----------
    keep_credentials : bool
        For upstreams without a key of their own: the client's passes.
    kept : frozenset of bytes
        The headers, in lower case, that carry a key in the protocol spoken.
    """
    found: Headers = []
    named: frozenset[bytes] | set[bytes] = _NOTHING
    for field in headers:
        lower = field[0].lower()
        if lower in _NOT_FORWARDED:
            if lower == b"connection" and field[1].lower() not in _USUAL:
                named = _named_by_connection(headers)
        elif lower in CREDENTIALS:
            if keep_credentials and lower in kept:
                found.append(field)
        elif lower.startswith(_NOT_FORWARDED_PREFIXES) or (b"_" in lower and _hides(lower)):
            continue
        elif lower == _SUBPROTOCOL and not keep_credentials:
            found.extend(_without_key(field))
        else:
            found.append(field)
    if named:
        return [field for field in found if field[0].lower() not in named]
    return found


def _hides(lower: bytes) -> bool:
    """Say whether a name with `_` is a withheld one to servers of the CGI family."""
    plain = lower.replace(b"_", b"-")
    return (
        plain in _NOT_FORWARDED
        or plain in CREDENTIALS
        or plain == _SUBPROTOCOL
        or plain.startswith(_NOT_FORWARDED_PREFIXES)
    )


def _without_key(field: tuple[bytes, bytes]) -> Headers:
    """Return the subprotocols of a WebSocket without the key that browsers put among them."""
    offered = [part.strip() for part in field[1].split(b",")]
    left = [part for part in offered if not part.startswith(_KEY_IN_SUBPROTOCOL)]
    if len(left) == len(offered):
        return [field]
    return [(field[0], b", ".join(left))] if left else []


def _named_by_connection(headers: Headers) -> set[bytes]:
    """Return the fields that `Connection` keeps between two neighbours (RFC 9110 §7.6.1)."""
    named: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection" and value.lower() not in _USUAL:
            named.update(part.strip().lower() for part in value.split(b","))
    return named


_HERE = b"/v1/"
"""What is found below this path at the upstream is found there at the gateway, too."""


def to_client(headers: Headers) -> Headers:
    """Return an upstream's headers that a client may see, in order.

    Everything of the answer itself passes; what is of the hop, of the upstream's host, or this
    gateway's own to say, stays here.
    """
    kept: Headers = []
    named: frozenset[bytes] | set[bytes] = _NOTHING
    for field in headers:
        lower = field[0].lower()
        if lower in _NOT_ANSWERED:
            if lower == b"connection" and field[1].lower() not in _USUAL:
                named = _named_by_connection(headers)
            elif lower == b"location" and field[1].startswith(_HERE):
                kept.append(field)
        elif not lower.startswith(_NOT_ANSWERED_PREFIXES):
            kept.append(field)
    if named:
        return [field for field in kept if field[0].lower() not in named]
    return kept
