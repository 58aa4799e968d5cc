import json
from typing import Any

import pytest

from gateway.protocols.protocol import Operation
from gateway.protocols.table import find_operation
from gateway.tap import ERROR_BYTES, PassTap, PlainTap
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

JSON: Headers = [(b"Content-Type", b"application/json")]
CHAT = find_operation("POST", "/v1/chat/completions")
EMBEDDING = find_operation("POST", "/v1/embeddings")
ODD = find_operation("POST", "/v1/odd")
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}


def judged(body: bytes, operation: Operation = CHAT, headers: Headers = JSON) -> PlainTap:
    """Return a tap that has judged a plain answer."""
    tap = PlainTap(operation, 1_000_000)
    tap.head(200, headers)
    assert not tap.feed(body)
    tap.end()
    return tap


def fault_of(body: bytes, operation: Operation = CHAT) -> Reason:
    """Return why an answer is refused."""
    with pytest.raises(UpstreamFault) as raised:
        judged(body, operation)
    return raised.value.reason


@pytest.mark.parametrize("content_type", [b"application/json", b"text/plain", b"text/html", b""])
def test_sound_body_passes_whatever_its_type_says(content_type: bytes) -> None:
    """Content types lie or are missing (TorchServe, Triton): the body decides."""
    tap = judged(
        json.dumps({"choices": [CHOICE]}).encode(), headers=[(b"content-type", content_type)]
    )
    assert tap.facts.finish_reason == "stop"


def test_tool_calls_of_all_choices_count() -> None:
    """Calls are counted over every choice, as they are in a stream."""
    calling = {**CHOICE, "message": {"tool_calls": [{}, {}]}}
    body = json.dumps({"choices": [CHOICE, calling, calling]}).encode()
    assert judged(body).facts.tool_calls == 4


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "m", "type": "t", "param": None, "code": None}},
        {"error": {"message": "m", "code": 500}, "choices": [CHOICE]},
        {"error": "generate expects model to produce exactly 1 response"},
        {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        {"error": []},
    ],
    ids=["openai", "beside", "triton", "vllm", "llama-server", "odd"],
)
def test_error_in_a_200_is_an_error(body: dict[str, Any]) -> None:
    """A 200 that carries an error of any server is a failure of the upstream."""
    assert fault_of(json.dumps(body).encode()) is Reason.UPSTREAM_ERROR


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b'{"choices": [{"index": 0, "mess',
        b"null",
        b"[]",
        b'"ok"',
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": {"0": 1}}',
        b'{"choices": [1]}',
        b'{"data": []}',
        b'\xff\xfe{"choices": [{}]}',
        b"[" * 100_000,
        b'{"choices": [{}]} trailing',
    ],
    ids=lambda body: body.decode("latin-1")[:30],
)
def test_wrong_bodies_are_invalid(body: bytes) -> None:
    """Empty, cut, foreign and misshapen bodies are no answers."""
    assert fault_of(body) is Reason.UPSTREAM_INVALID


def test_null_error_is_none() -> None:
    """`"error": null` beside a sound answer is no error."""
    judged(json.dumps({"choices": [CHOICE], "error": None}).encode())


def test_embedding_needs_data() -> None:
    """Embeddings have `data`, not `choices`."""
    judged(b'{"data": [{"embedding": [0.1]}]}', EMBEDDING)
    assert fault_of(json.dumps({"choices": [CHOICE]}).encode(), EMBEDDING) is (
        Reason.UPSTREAM_INVALID
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (7, 7),
        (0, 0),
        (7.0, 7),
        (7.5, None),
        (-1, None),
        (True, None),
        ("7", None),
        (None, None),
        (2**31, None),
        (10**30, None),
        ([7], None),
    ],
)
def test_odd_usage_does_not_spoil_an_answer(given: object, kept: int | None) -> None:
    """A count that is none is unknown in the record; the answer stays sound."""
    tap = judged(json.dumps({"choices": [CHOICE], "usage": {"prompt_tokens": given}}).encode())
    assert tap.facts.prompt_tokens == kept


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (300, Reason.UPSTREAM_INVALID),
        (301, Reason.UPSTREAM_INVALID),
        (307, Reason.UPSTREAM_INVALID),
        (304, Reason.UPSTREAM_INVALID),
        (401, Reason.UPSTREAM_AUTH),
        (403, Reason.UPSTREAM_AUTH),
        (408, Reason.UPSTREAM_TIMEOUT),
        (429, Reason.UPSTREAM_LIMITED),
        (500, Reason.UPSTREAM_ERROR),
        (503, Reason.UPSTREAM_ERROR),
        (529, Reason.UPSTREAM_ERROR),
        (530, Reason.UPSTREAM_ERROR),
    ],
)
def test_status_says_what_failed(status: int, reason: Reason) -> None:
    """Redirects are never followed, 5xx are the upstream's, 401 and 403 are about our key."""
    with pytest.raises(UpstreamFault) as raised:
        PlainTap(CHAT, 100).head(status, JSON)
    assert (raised.value.reason, raised.value.status) == (reason, status)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422, 424])
def test_other_4xx_are_the_callers(status: int) -> None:
    """The upstream refused the request itself: no fault of the upstream, whatever the body."""
    tap = PlainTap(CHAT, 100)
    tap.head(status, [])
    tap.feed(b"not JSON")
    tap.end()
    assert tap.is_client_error


def test_refused_key_is_the_clients_if_it_was_the_clients() -> None:
    """When the client's own key was forwarded its 401 is passed on."""
    tap = PlainTap(CHAT, 100, forwards_credentials=True)
    tap.head(401, JSON)
    assert tap.is_client_error


def test_retry_after_is_read() -> None:
    """What an upstream asks for goes with the fault."""
    with pytest.raises(UpstreamFault) as raised:
        PlainTap(CHAT, 100).head(429, [(b"Retry-After", b"7")])
    assert raised.value.retry_after_s == 7.0


def test_passed_through_answer_commits_with_its_first_byte() -> None:
    """A path that is not understood is relayed as it comes."""
    tap = PassTap(ODD, 4)
    tap.head(200, [(b"Content-Encoding", b"gzip")])
    assert tap.feed(b"\x1f\x8b\x00")
    assert tap.take() == b"\x1f\x8b\x00"
    assert tap.feed(b"more")
    tap.end()
    assert (tap.body, tap.truncated, tap.received_bytes) == (b"\x1f\x8b\x00m", True, 7)


def test_passed_through_refusal_is_held() -> None:
    """A refusal is held until it is whole, as it may be in an error's shape, or not."""
    tap = PassTap(ODD, 0)
    tap.head(404, [])
    assert not tap.stream
    assert not tap.feed(b"x" * ERROR_BYTES)
    assert len(tap.body) == ERROR_BYTES


def test_take_gives_each_byte_once() -> None:
    """What was taken is not given again."""
    tap = PassTap(ODD, 100)
    tap.head(200, [])
    tap.feed(b"a")
    tap.feed(b"b")
    assert tap.take() == b"ab"
    assert tap.take() == b""


@pytest.mark.parametrize("coding", [[], [(b"Content-Encoding", b"br")]], ids=["plain", "coded"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/odd"])
def test_refusal_that_was_cut_is_told_anew(path: str, coding: Headers) -> None:
    """What is too long to be held is no error that a client could read."""
    operation = find_operation("POST", path)
    tap = PlainTap(operation, 100) if operation.strict else PassTap(operation, 100)
    tap.head(400, [*JSON, *coding])
    tap.feed(b"x" * (ERROR_BYTES + 1))
    refusal = tap.refusal()
    assert refusal is not None
    assert json.loads(refusal)["error"]["code"] == "upstream_rejected"


def test_unread_answer_is_not_cut_in_silence() -> None:
    """An answer in a coding that is not read, and too long to be held, is none."""
    tap = PlainTap(CHAT, 100)
    tap.head(200, [*JSON, (b"Content-Encoding", b"br")])
    tap.feed(b"x" * 101)
    with pytest.raises(UpstreamFault, match="longer") as raised:
        tap.end()
    assert raised.value.reason is Reason.UPSTREAM_INVALID


def test_answer_coded_twice_passes_unread() -> None:
    """Two fields are a list of codings, and a list is not looked into."""
    twice = [(b"Content-Encoding", b"gzip"), (b"content-encoding", b"gzip")]
    tap = judged(b"coded", headers=[*JSON, *twice])
    assert (tap.coding, tap.body) == (b"gzip, gzip", b"coded")
