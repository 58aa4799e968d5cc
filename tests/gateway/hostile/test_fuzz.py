"""Requests that nobody wrote down: mutated bytes, and JSON bodies of every shape."""

import json
import re
import string
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fake_upstream import FakeUpstream
from support.hostile.kit import (
    ALIVE,
    CHAT,
    GOOD_BODY,
    MESSAGES,
    Heard,
    Wire,
    check_error,
    check_nothing_smuggled,
    get,
    post,
)
from support.raw_client import Answer
from support.worker import RunningWorker

EXAMPLES = 400
_PATIENT = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_CHUNKED_BODY = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)
_FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n--x--\r\n'
SEEDS = [
    ALIVE,
    post(),
    post(GOOD_BODY[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'),
    post(b'{"model":"chat","input":"hi"}', b"/v1/embeddings?a=b"),
    post(GOOD_BODY, MESSAGES, b"anthropic-version: 2023-06-01"),
    post(_FORM, b"/v1/audio/transcriptions", b"Content-Type: multipart/form-data; boundary=x"),
    b"POST " + CHAT + b" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKED_BODY,
    get(b"/v1/models", b"Connection: keep-alive", b"Accept: */*"),
    post(b"{}", b"/v1/feedback", b"Expect: 100-continue"),
    ALIVE + post() + ALIVE,
]
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"/",
    b"..",
    b"%2e",
    b"%00",
    b"?",
    b"#",
    b"*",
    b'"',
    b"{",
    b"}",
    b"[",
    b"\\ud800",
    b"\xff",
    b"0",
    b"1",
    b"-1",
    b"ffffffffffffffff",
    b"0\r\n\r\n",
    b"Host: h\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Type: multipart/form-data; boundary=x\r\n",
    b"x-driftgate-route: chat\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"GET",
    b"HEAD",
    b"CONNECT",
    b"OPTIONS",
    b"NaN",
    b"null",
    b"--x\r\n",
    b"--x--\r\n",
]
_PIECES = re.compile(rb"[A-Za-z0-9_]+|\r\n|[^A-Za-z0-9_]")


def _insert(pieces: list[bytes], at: int, token: bytes) -> list[bytes]:
    return [*pieces[:at], token, *pieces[at:]]


def _replace(pieces: list[bytes], at: int, token: bytes) -> list[bytes]:
    return [*pieces[:at], token, *pieces[at + 1 :]]


def _delete(pieces: list[bytes], at: int, token: bytes) -> list[bytes]:  # token: not needed
    return [*pieces[:at], *pieces[at + 1 :]]


def _double(pieces: list[bytes], at: int, token: bytes) -> list[bytes]:
    return [*pieces[:at], *pieces[at : at + 6], *pieces[at:]]


def _many(pieces: list[bytes], at: int, token: bytes) -> list[bytes]:
    return [*pieces[:at], token * 2_000, *pieces[at:]]


def _cut(pieces: list[bytes], at: int, token: bytes) -> list[bytes]:
    return pieces[:at]


Mutation = Callable[[list[bytes], int, bytes], list[bytes]]
_MUTATIONS: list[Mutation] = [_insert, _replace, _delete, _double, _many, _cut]


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Draw a request with one to four mutations, cut into the pieces in which it is sent."""
    pieces = _PIECES.findall(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        mutation = draw(st.sampled_from(_MUTATIONS))
        at = draw(st.integers(0, max(0, len(pieces) - 1)))
        pieces = mutation(pieces, at, draw(st.sampled_from(TOKENS)))
    data = b"".join(pieces)
    cut = draw(st.integers(0, len(data)))
    return [data[:cut], data[cut:]]


def _converse(port: int, parts: list[bytes], *, parse: bool) -> Heard:
    """Send the parts and FIN; return all that is said until the connection ends."""
    wire = Wire(port, parse=parse)
    try:
        for part in parts:
            wire.deliver(part)
        wire.finish_sending()
        return wire.talk(b"", answers=None)
    finally:
        wire.close()


def _check_sane(answer: Answer) -> None:
    assert 200 <= answer.status < 500, answer
    if answer.status >= 400:
        check_error(answer, anthropic=json.loads(answer.body).get("type") == "error")


@_PATIENT
@given(parts=mutated())
def test_mutated_requests_are_answered_soundly_or_not_at_all(
    parts: list[bytes], worker: RunningWorker, upstream: FakeUpstream
) -> None:
    """Whole answers below 500, then the end; nothing hidden comes to life; the next is served."""
    upstream.requests.clear()
    data = b"".join(parts)
    heard = _converse(worker.port, parts, parse=b"HEAD" not in data)
    # Who half-closes while a stream is on its way counts as gone: it may be cut.
    assert not heard.rest or b"chunked" in heard.rest or b"HEAD" in data, heard
    for answer in heard.answers:
        _check_sane(answer)
    check_nothing_smuggled(upstream)
    wire = Wire(worker.port)
    try:
        assert wire.talk(ALIVE, answers=1).answers[0].status == 200
    finally:
        wire.close()


_KEYS = ["model", "messages", "stream", "stream_options", "user", "input", "prompt", "n"]
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["chat", "", "\0", "\ud800", "x" * 600, 10**500, -1, 1e308])
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_KEYS) | st.text(string.printable, max_size=8), inner)
    ),
    max_leaves=12,
)
_BODIES = st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=8) | _VALUES
_TARGETS = [
    CHAT,
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/moderations",
    b"/v1/rerank",
    MESSAGES,
    b"/v1/feedback",
]


@_PATIENT
@given(body=_BODIES, target=st.sampled_from(_TARGETS), plain=st.booleans())
@example(body={"model": "chat", "stream": True, "messages": []}, target=CHAT, plain=False)
@example(body={"model": "chat", "input": "\ud800"}, target=b"/v1/responses", plain=False)
def test_json_of_every_shape_is_judged(
    body: Any,
    target: bytes,
    plain: bool,  # noqa: FBT001  (drawn)
    worker: RunningWorker,
) -> None:
    """It is served or refused with a 4xx in the shape of its API; the connection lives on."""
    text = json.dumps(body, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    wire = Wire(worker.port)
    try:
        heard = wire.talk(post(text, target) + ALIVE, answers=2)
    finally:
        wire.close()
    first, second = heard.answers
    _check_sane(first)
    if first.status >= 400:
        check_error(first, anthropic=target == MESSAGES)
    assert second.status == 200
