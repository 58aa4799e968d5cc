"""Which headers go through, both ways."""

from router.upstream import Headers

_NOT_FORWARDED = frozenset(
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
        b"host",
        b"content-length",
        b"expect",
        b"accept-encoding",
        # The client's credentials are for this gateway; each upstream has its own.
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"cookie",
        b"forwarded",
        b"traceparent",
    }
)
_ANSWER_NAMES = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"content-disposition",
        b"cache-control",
        b"retry-after",
        b"x-request-id",
        b"request-id",
        b"x-should-retry",
    }
)
_ANSWER_PREFIXES = (b"openai-", b"x-ratelimit-", b"anthropic-")
_USUAL = frozenset({b"keep-alive", b"close"})
OWN_PREFIX = b"x-driftgate-"


def to_upstream(headers: Headers, *, keep_credentials: bool) -> Headers:
    """Return the client's headers that an upstream may see, in order.

    `keep_credentials` passes `Authorization`: for upstreams without a key of their own.
    """
    kept: Headers = []
    named = _named_by_connection(headers)
    for name, value in headers:
        lower = name.lower()
        if lower in named:
            continue
        if lower in _NOT_FORWARDED:
            if not (keep_credentials and lower == b"authorization"):
                continue
        elif lower.startswith((OWN_PREFIX, b"x-forwarded-")):
            continue
        kept.append((name, value))
    return kept


def _named_by_connection(headers: Headers) -> set[bytes]:
    """Return the fields that `Connection` keeps between two neighbours (RFC 9110 §7.6.1)."""
    named: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection" and value.lower() not in _USUAL:
            named.update(part.strip().lower() for part in value.split(b","))
    return named


def to_client(headers: Headers) -> Headers:
    """Return an upstream's headers that a client may see, in order: an allow-list."""
    kept: Headers = []
    for name, value in headers:
        lower = name.lower()
        if lower in _ANSWER_NAMES or lower.startswith(_ANSWER_PREFIXES):
            kept.append((name, value))
    return kept
