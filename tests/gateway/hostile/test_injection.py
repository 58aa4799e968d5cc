"""What clients add to a request so that an upstream sees it: fields that are not theirs to send."""

from typing import NamedTuple

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.kit import CHAT, GOOD_BODY, Wire, post
from support.worker import RunningWorker


class Injection(NamedTuple):
    """Fields sent, and names of fields that must not arrive."""

    name: str
    fields: tuple[bytes, ...]
    kept_back: tuple[str, ...]


INJECTIONS = [
    Injection("a route", (b"X-Driftgate-Route: chat",), ("x-driftgate-route",)),
    Injection("a user", (b"X-Driftgate-User: u",), ("x-driftgate-user",)),
    Injection("tags", (b"x-driftgate-tags: a=b",), ("x-driftgate-tags",)),
    Injection("a prediction's id", (b"X-DRIFTGATE-ID: 1",), ("x-driftgate-id",)),
    Injection("a field of ours to come", (b"x-driftgate-whatever: 1",), ("x-driftgate-whatever",)),
    Injection("ours with an underscore", (b"X_Driftgate_Route: chat",), ("x_driftgate_route",)),
    Injection("a field that Connection names", (b"Connection: x-a", b"X-A: 1"), ("x-a",)),
    Injection(
        "two fields that Connection names",
        (b"Connection: close, X-A , x-b", b"X-A: 1", b"X-B: 2"),
        ("x-a", "x-b", "connection: x-a"),
    ),
    Injection(
        "Connection given twice",
        (b"Connection: x-a", b"connection: x-b", b"X-A: 1", b"X-B: 2"),
        ("x-a", "x-b"),
    ),
    Injection("Keep-Alive", (b"Keep-Alive: timeout=1000",), ("keep-alive",)),
    Injection("TE", (b"TE: trailers", b"Connection: te"), ("te",)),
    Injection("Trailer", (b"Trailer: x-a",), ("trailer",)),
    Injection("a proxy's key", (b"Proxy-Authorization: Basic x",), ("proxy-authorization",)),
    Injection("a proxy's challenge", (b"Proxy-Authenticate: Basic",), ("proxy-authenticate",)),
    Injection("Proxy-Connection", (b"Proxy-Connection: keep-alive",), ("proxy-connection",)),
    Injection(
        "an upgrade", (b"Upgrade: h2c", b"HTTP2-Settings: AAAA"), ("upgrade", "http2-settings")
    ),
    Injection("who forwarded", (b"Forwarded: for=127.0.0.1;host=evil",), ("forwarded",)),
    Injection("X-Forwarded-For", (b"X-Forwarded-For: 127.0.0.1",), ("x-forwarded-for",)),
    Injection("X-Forwarded-Host", (b"X-Forwarded-Host: evil",), ("x-forwarded-host",)),
    Injection("X-Forwarded-Proto", (b"X-Forwarded-Proto: https",), ("x-forwarded-proto",)),
    Injection("forwarded, underscored", (b"X_Forwarded_For: 127.0.0.1",), ("x_forwarded_for",)),
    Injection("X-Real-IP", (b"X-Real-IP: 127.0.0.1",), ("x-real-ip",)),
    Injection(
        "a rewritten URL",
        (b"X-Original-URL: /admin", b"X-Rewrite-URL: /admin"),
        ("x-original-url", "x-rewrite-url"),
    ),
    Injection("a cookie", (b"Cookie: session=1",), ("cookie",)),
    Injection("another key", (b"api-key: x", b"x-api-key: y"), ("api-key", "x-api-key")),
    Injection("an expectation", (b"Expect: 100-continue",), ("expect",)),
    Injection("a length with an underscore", (b"Content_Length: 0",), ("content_length",)),
    Injection(
        "a coding with an underscore", (b"Transfer_Encoding: chunked",), ("transfer_encoding",)
    ),
]


def _ask(worker: RunningWorker, *fields: bytes) -> int:
    wire = Wire(worker.port)
    try:
        return wire.talk(post(GOOD_BODY, CHAT, *fields), answers=1).answers[0].status
    finally:
        wire.close()


def test_fields_are_kept_back(
    worker: RunningWorker, upstream: FakeUpstream, subtests: pytest.Subtests
) -> None:
    """The request is served; the field does not arrive."""
    for injection in INJECTIONS:
        with subtests.test(injection.name):
            upstream.requests.clear()
            assert _ask(worker, *injection.fields) == 200
            (seen,) = upstream.requests
            arrived = {name.lower() for name, _ in seen.headers}
            assert not arrived & set(injection.kept_back)
            assert seen.body == GOOD_BODY


@pytest.mark.parametrize(
    "named",
    [
        b"content-length",
        b"content-type",
        b"host",
        b"authorization",
        b"traceparent",
        b"transfer-encoding, content-length, host, authorization",
        b"close, keep-alive, upgrade",
        b",,,",
        b"\xff",
        b"x" * 10_000,
    ],
)
def test_connection_cannot_take_away_what_is_ours(
    named: bytes, worker: RunningWorker, upstream: FakeUpstream
) -> None:
    """Length, host, key and trace of the request to the upstream are written by the gateway."""
    upstream.requests.clear()
    assert _ask(worker, b"Connection: " + named) == 200
    (seen,) = upstream.requests
    assert seen.body == GOOD_BODY
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"
    assert seen.header("authorization") == "Bearer sk-of-the-upstream"
    assert seen.header("traceparent") is not None


@pytest.mark.parametrize(
    "fields",
    [
        (b"traceparent: 00-zz-zz-01",),
        (b"traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",),
        (b"traceparent: \xff",),
        (b"traceparent: " + b"a" * 5_000,),
        (b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01, x",),
        (b"x-driftgate-tags: " + b"a=b," * 5_000,),
        (b"x-driftgate-tags: \xff=\xfe;;==,,",),
        (b"x-driftgate-user: " + b"u" * 20_000,),
        (b"x-driftgate-user: \xff\xfe",),
        (b"x-driftgate-no-log: maybe",),
        (b"cache-control: no-cache=" + b"x," * 5_000,),
    ],
)
def test_fields_that_we_read_may_be_noise(
    fields: tuple[bytes, ...], worker: RunningWorker, upstream: FakeUpstream
) -> None:
    """What cannot be understood is ignored, and the trace that goes on is well formed."""
    upstream.requests.clear()
    assert _ask(worker, *fields) == 200
    traces = [value for name, value in upstream.requests[0].headers if name == "traceparent"]
    assert [len(trace) for trace in traces] == [55]


@pytest.mark.parametrize(
    "route", [b"nowhere", b"%0d%0aX-Injected:1", b"\xff\xfe", b"../chat", b"", b"x" * 5_000]
)
def test_a_forced_route_that_is_not_there_is_told(route: bytes, worker: RunningWorker) -> None:
    """404 that names the routes (an empty one is none), and the value starts no field."""
    wire = Wire(worker.port)
    try:
        sent = post(GOOD_BODY, CHAT, b"X-Driftgate-Route: " + route)
        (answer,) = wire.talk(sent, answers=1).answers
    finally:
        wire.close()
    assert answer.status == (404 if route else 200)
    assert "x-injected" not in answer.headers


def test_the_answers_own_fields_cannot_be_chosen(worker: RunningWorker) -> None:
    """An id, a variant or an upstream that the client sends is not what it reads."""
    wire = Wire(worker.port)
    spoofed = (b"x-driftgate-id: spoofed", b"x-driftgate-upstream: spoofed", b"x-request-id: a b")
    try:
        (answer,) = wire.talk(post(GOOD_BODY, CHAT, *spoofed), answers=1).answers
    finally:
        wire.close()
    assert "spoofed" not in repr(answer.headers)
