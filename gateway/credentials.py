"""Whose key an upstream sees: its own, the client's, or none."""

from gateway.exchange import Exchange
from gateway.headers import CREDENTIALS
from router.config import UpstreamConfig
from router.upstream import Headers

_ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")


def shown_key(exchange: Exchange) -> bytes:
    """Return the key that a client shows, in whichever field; b"" without one."""
    shown = exchange.header(b"authorization")
    if shown is not None and shown[:7].lower() == b"bearer ":
        return shown[7:].strip()
    return exchange.header(b"x-api-key") or exchange.header(b"api-key") or b""


def takes_client_keys(upstream: UpstreamConfig) -> bool:
    """Say whether a client's key may go to an upstream: one that has no key of its own."""
    if upstream.api_key is not None or upstream.engine is not None:
        return False
    # A key may also stand among the fields that the operator adds (`api-key` of Azure, say).
    return not any(name.lower().encode("latin-1") in CREDENTIALS for name in upstream.headers)


def with_own_fields(headers: Headers, upstream: UpstreamConfig) -> Headers:
    """Return fields with an upstream's own key, and what its operator adds in their place."""
    key = upstream.api_key
    wants_anthropic = upstream.protocol == "anthropic"
    if key is not None:
        secret = key.get_secret_value().encode()
        if wants_anthropic:
            headers.append((b"x-api-key", secret))
        else:
            headers.append((b"Authorization", b"Bearer " + secret))
    if wants_anthropic and not any(name.lower() == b"anthropic-version" for name, _ in headers):
        headers.append(_ANTHROPIC_VERSION)
    if upstream.headers:
        own = {name.lower().encode("latin-1") for name in upstream.headers}
        headers = [(name, value) for name, value in headers if name.lower() not in own]
        for name, value in upstream.headers.items():
            headers.append((name.encode("latin-1"), value.encode("latin-1")))
    return headers
