import json
from typing import Any

import pytest

from gateway.protocols.openai_text import answer_text, prompt_text
from gateway.protocols.openai_typed import peek_response
from gateway.protocols.table import find_operation
from gateway.stream_tap import StreamTap
from gateway.tap import PassTap, PlainTap
from router.errors import Reason, UpstreamFault

RESPONSES = find_operation("POST", "/v1/responses")
IMAGES = find_operation("POST", "/v1/images/generations")
SPEECH = find_operation("POST", "/v1/audio/speech")
WRITTEN = find_operation("POST", "/v1/audio/transcriptions")
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 2},
}
DONE = {"object": "response", "status": "completed", "model": "m-1", "usage": USAGE, "output": []}
CALLS = [{"type": "function_call"}, {"type": "message"}, {"type": "web_search_call"}]


def event(kind: str, **values: Any) -> bytes:
    """Return one event as the Responses API writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n".encode()


CREATED = event("response.created", response=DONE | {"status": "in_progress", "usage": None})
WORD = event("response.output_text.delta", delta="hi")
COMPLETED = event("response.completed", response=DONE | {"output": CALLS})
FAILED = event("response.failed", response=DONE | {"status": "failed", "error": {"code": "x"}})


def tap() -> StreamTap:
    """Return a tap whose head was read."""
    found = StreamTap(RESPONSES, 10_000)
    found.head(200, SSE)
    return found


def test_sound_stream_passes_unchanged() -> None:
    """A stream passes to `response.completed`, which needs no `[DONE]`, and tells its facts."""
    judge = tap()
    assert not judge.feed(CREATED)
    assert judge.feed(WORD)
    assert judge.feed(COMPLETED)
    judge.end()
    assert judge.done
    assert judge.take() == CREATED + WORD + COMPLETED
    facts = judge.facts
    assert (facts.prompt_tokens, facts.cached_tokens) == (9, 3)
    assert (facts.response_tokens, facts.reasoning_tokens) == (4, 2)
    assert (facts.finish_reason, facts.tool_calls, facts.model_answered) == ("completed", 2, "m-1")


def test_incomplete_answer_says_why() -> None:
    """The reason of an incomplete answer is its finish reason."""
    judge = tap()
    why = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    judge.feed(event("response.incomplete", response=DONE | why))
    assert judge.facts.finish_reason == "max_output_tokens"


@pytest.mark.parametrize("bad", [FAILED, event("error", message="m", code="server_error")])
def test_failure_is_retried_first_and_shown_later(bad: bytes) -> None:
    """A failure before any content is a fault; later the client sees the upstream's own words."""
    with pytest.raises(UpstreamFault) as raised:
        tap().feed(CREATED + bad)
    assert raised.value.reason is Reason.UPSTREAM_ERROR
    judge = tap()
    judge.feed(WORD)
    with pytest.raises(UpstreamFault):
        judge.feed(bad)
    assert judge.take() == WORD + bad
    assert judge.last_words("m", "upstream_error") == b""


@pytest.mark.parametrize("bad", [b"data: {}\n\n", b"data: []\n\n", b"data: x\n\n", b"<html>\n\n"])
def test_event_of_no_kind_is_invalid(bad: bytes) -> None:
    """What says no type is not of this protocol."""
    with pytest.raises(UpstreamFault) as raised:
        tap().feed(bad)
    assert raised.value.reason is Reason.UPSTREAM_INVALID


def test_stream_that_ends_early_is_cut() -> None:
    """Without its last event a response is a part of one."""
    judge = tap()
    judge.feed(CREATED + WORD)
    with pytest.raises(UpstreamFault) as raised:
        judge.end()
    assert raised.value.reason is Reason.STREAM_INTERRUPTED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (DONE | {"status": "failed", "error": {"code": "x", "message": "m"}}, "upstream_error"),
        ({"error": {"message": "m"}}, "upstream_error"),
        ({}, "upstream_invalid"),
        ([], "upstream_invalid"),
    ],
)
def test_wrong_answers_are_refused(body: Any, reason: str) -> None:
    """Failed responses are failures, whatever the status of the answer."""
    judge = PlainTap(RESPONSES, 10_000)
    judge.head(200, JSON)
    judge.feed(json.dumps(body).encode())
    with pytest.raises(UpstreamFault) as raised:
        judge.end()
    assert raised.value.reason == reason


def test_plain_answer_is_read() -> None:
    """Usage, status and calls of tools are known."""
    judge = PlainTap(RESPONSES, 10_000)
    judge.head(200, JSON)
    judge.feed(json.dumps(DONE | {"output": CALLS}).encode())
    judge.end()
    facts = judge.facts
    assert (facts.prompt_tokens, facts.response_tokens, facts.tool_calls) == (9, 4, 2)


@pytest.mark.parametrize(
    ("body", "refers"),
    [
        (b'{"model":"m"}', False),
        (b'{"model":"m","previous_response_id":null}', False),
        (b'{"model":"m","previous_response_id":"r"}', True),
        (b'{"model":"m","conversation":{"id":"c"}}', True),
        (b'{"model":"m","background":true}', True),
    ],
)
def test_what_refers_to_kept_state_is_known(body: bytes, *, refers: bool) -> None:
    """A request that goes on from something kept belongs to the upstream that keeps it."""
    assert peek_response(body).refers is refers


def passed(operation: Any, body: bytes, headers: Any = JSON, **options: Any) -> PassTap:
    """Return a tap that has looked on."""
    found = PassTap(operation, 100, look_bytes=10_000, **options)
    found.head(200, headers)
    for at in range(0, len(body), 50):
        assert found.feed(body[at : at + 50])
    found.end()
    assert found.take() == body
    return found


def test_images_usage_is_read_beside_the_relay() -> None:
    """A large answer passes as it comes; what it used stands at its end and is found."""
    body = json.dumps({"data": [{"b64_json": "x" * 5000}], "usage": USAGE}).encode()
    facts = passed(IMAGES, body).facts
    assert (facts.prompt_tokens, facts.response_tokens) == (9, 4)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (IMAGES, "image_generation.completed"),
        (SPEECH, "speech.audio.done"),
        (WRITTEN, "transcript.text.done"),
    ],
    ids=["image", "speech", "transcription"],
)
def test_events_of_media_are_read_beside_the_relay(operation: Any, kind: str) -> None:
    """The last event of a stream of media tells its usage."""
    body = event("speech.audio.delta", audio="eHh4") + event(kind, usage=USAGE)
    assert passed(operation, body, SSE).facts.response_tokens == 4


def test_chunks_in_place_of_typed_events_are_read() -> None:
    """VLLM streams a transcription as chunks; its usage is found, too."""
    chunk = {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}
    used = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    body = b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in (chunk, used))
    facts = passed(WRITTEN, body + b"data: [DONE]\n\n", SSE).facts
    assert (facts.prompt_tokens, facts.response_tokens, facts.finish_reason) == (5, 6, "stop")


@pytest.mark.parametrize("body", [b"ID3\x00\xff", b"data: nonsense\n\n", b'{"error": 1}'])
@pytest.mark.parametrize("headers", [JSON, SSE, [(b"content-type", b"audio/mpeg")]])
def test_looking_on_never_fails_an_answer(body: bytes, headers: Any) -> None:
    """What cannot be read passes all the same."""
    assert passed(SPEECH, body, headers).facts.prompt_tokens is None


def test_words_of_responses_are_read() -> None:
    """Instructions, input and output texts are what monitors watch."""
    request = {"instructions": "Be brief.", "input": [{"role": "user", "content": "Hi"}]}
    assert prompt_text(json.dumps(request).encode()) == "Be brief.\nHi"
    parts = [{"type": "output_text", "text": "Hel"}, {"type": "output_text", "text": "lo"}]
    output = [{"type": "reasoning"}, {"type": "message", "content": parts}]
    assert answer_text(json.dumps({"output": output}).encode(), "application/json") == "Hello"
    assert answer_text(CREATED + WORD + WORD + COMPLETED, "text/event-stream") == "hihi"
    assert answer_text(b'{"text": "spoken"}', "application/json") == "spoken"
    assert answer_text(b'{"output": [{"type": "function_call"}]}', "application/json") is None


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 9}),
        ("/v1/responses/compact", {"object": "response.compaction", "usage": USAGE}),
    ],
)
def test_what_is_asked_like_a_response_names_its_model(path: str, answer: dict[str, Any]) -> None:
    """Counting and compacting choose their route as responses do, and say what they counted."""
    operation = find_operation("POST", path)
    assert operation.peek is not None
    peek = operation.peek(b'{"model":"m","previous_response_id":"r-1"}')
    assert (peek.model, peek.refers, operation.edits_model) == ("m", True, True)
    judge = PassTap(operation, 10_000)
    judge.head(200, JSON)
    judge.feed(json.dumps(answer).encode())
    judge.end()
    assert judge.facts.prompt_tokens == 9
