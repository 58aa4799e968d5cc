import pytest

from gateway.headers import to_client, to_upstream
from router.upstream import Headers

HOP_BY_HOP = [
    b"Connection",
    b"Keep-Alive",
    b"Proxy-Authenticate",
    b"Proxy-Authorization",
    b"Proxy-Connection",
    b"TE",
    b"Trailer",
    b"Transfer-Encoding",
    b"Upgrade",
]
SECRETS = [b"Authorization", b"Api-Key", b"X-Api-Key", b"Cookie"]
OURS = [b"X-Driftgate-User", b"x-driftgate-route", b"X-Forwarded-For", b"Forwarded", b"traceparent"]
FRAMING = [b"Host", b"Content-Length", b"Expect", b"Accept-Encoding"]


@pytest.mark.parametrize("name", HOP_BY_HOP + SECRETS + OURS + FRAMING, ids=bytes.decode)
def test_upstream_does_not_see(name: bytes) -> None:
    """Hop-by-hop fields, credentials, framing and what is meant for this gateway stay here."""
    for written in (name, name.lower(), name.upper()):
        assert to_upstream([(written, b"value")], keep_credentials=False) == []


@pytest.mark.parametrize(
    "name", [b"Content-Type", b"OpenAI-Organization", b"User-Agent", b"x-stainless-retry-count"]
)
def test_upstream_sees(name: bytes) -> None:
    """Other fields reach the upstream as they were written."""
    assert to_upstream([(name, b"value")], keep_credentials=False) == [(name, b"value")]


def test_order_and_repeats_are_kept() -> None:
    """Fields keep their order, and repeated ones stay repeated."""
    headers = [(b"A", b"1"), (b"B", b"2"), (b"a", b"3")]
    assert to_upstream(headers, keep_credentials=False) == headers


def test_only_authorization_is_forwarded() -> None:
    """An upstream without a key of its own gets `Authorization`, and no other credential."""
    headers = [(name, b"secret") for name in SECRETS]
    assert to_upstream(headers, keep_credentials=True) == [(b"Authorization", b"secret")]


@pytest.mark.parametrize(
    "name",
    [
        b"X-Real-IP",
        b"X-Original-URL",
        b"X_Forwarded_For",
        b"X-Forwarded_For",
        b"X-Real_IP",
        b"x_driftgate-route",
        b"Transfer_Encoding",
        b"Content_Length",
        b"Proxy_Authorization",
        b"Sec_WebSocket_Protocol",
        b"api_key",
        b"x-goog_api-key",
    ],
)
def test_what_a_proxy_would_say_stays(name: bytes) -> None:
    """No client can speak as a proxy in front, nor hide a field behind an underscore."""
    assert to_upstream([(name, b"1")], keep_credentials=False) == []


def test_other_names_with_underscores_pass() -> None:
    """A field of one's own may be named as one likes."""
    headers = [(b"x_my_field", b"1"), (b"X-My_Field", b"2")]
    assert to_upstream(headers, keep_credentials=False) == headers


@pytest.mark.parametrize("value", [b"X-Secret", b"close, x-secret", b"keep-alive ,\tX-SECRET"])
def test_fields_named_by_connection_stay(value: bytes) -> None:
    """What `Connection` names is for this hop alone (RFC 9110 §7.6.1)."""
    headers = [(b"Connection", value), (b"X-Secret", b"1"), (b"X-Other", b"2")]
    assert to_upstream(headers, keep_credentials=False) == [(b"X-Other", b"2")]


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Type",
        b"Retry-After",
        b"X-Request-Id",
        b"OpenAI-Processing-Ms",
        b"x-ratelimit-remaining-tokens",
        b"anthropic-ratelimit-requests-limit",
        b"X-Should-Retry",
        b"Content-Encoding",
        b"ETag",
        b"Last-Modified",
        b"Cache-Control",
        b"Vary",
        b"Link",
        b"Deprecation",
        b"Warning",
        b"Server-Timing",
        b"WWW-Authenticate",
        b"X-Anything",
        b"CF-Ray",
    ],
)
def test_client_sees(name: bytes) -> None:
    """What is said of the answer passes."""
    assert to_client([(name, b"value")]) == [(name, b"value")]


@pytest.mark.parametrize(
    "name",
    [
        *HOP_BY_HOP,
        b"Set-Cookie",
        b"Server",
        b"X-Accel-Redirect",
        b"X-Powered-By",
        b"Content-Length",
        b"Location",
        b"Access-Control-Allow-Origin",
        b"Strict-Transport-Security",
        b"x-driftgate-id",
        b"traceparent",
        b"Date",
        b"Authorization",
    ],
    ids=bytes.decode,
)
def test_client_does_not_see(name: bytes) -> None:
    """What is of the hop, of the upstream's host, or this gateway's to say, stays."""
    headers: Headers = [(name, b"value"), (name.lower(), b"value")]
    assert to_client(headers) == []


def test_order_and_repeats_are_kept_for_the_client() -> None:
    """Fields of an answer keep their order, their case and their repeats."""
    headers = [(b"X-RateLimit-Note", b"1"), (b"b", b"2"), (b"x-ratelimit-note", b"3")]
    assert to_client(headers) == headers


def test_fields_that_an_upstream_names_by_connection_stay() -> None:
    """What an upstream's `Connection` names ends here."""
    headers = [(b"X-Hop", b"1"), (b"Connection", b"close, x-hop"), (b"X-End", b"2")]
    assert to_client(headers) == [(b"X-End", b"2")]


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"realtime, openai-insecure-api-key.sk-1", [b"realtime"]),
        (b"openai-insecure-api-key.sk-1", []),
        (b"realtime,  other", [b"realtime,  other"]),
    ],
)
def test_key_among_subprotocols_stays(value: bytes, left: list[bytes]) -> None:
    """The key that browsers put among a WebSocket's subprotocols is a credential."""
    headers = [(b"Sec-WebSocket-Protocol", value)]
    found = to_upstream(headers, keep_credentials=False)
    assert [value for _, value in found] == left
    assert to_upstream(headers, keep_credentials=True) == headers


def test_client_sees_where_a_new_object_is_found_here_too() -> None:
    """A path of the same API leads to the gateway; an address would lead past it."""
    here = (b"Location", b"/v1/realtime/calls/rtc_1")
    assert to_client([here, (b"Location", b"//elsewhere/v1/"), (b"Location", b"/admin")]) == [here]
