import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.protocols.anthropic import peek
from gateway.protocols.table import ANTHROPIC, find_operation
from gateway.stream_tap import StreamTap
from gateway.tap import PlainTap
from router.errors import Reason, UpstreamFault

MESSAGES = find_operation("POST", "/v1/messages")
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 4,
    "cache_read_input_tokens": 5,
    "output_tokens": 1,
}
MESSAGE: dict[str, Any] = {
    "type": "message",
    "model": "c-1",
    "content": [],
    "usage": USAGE,
    "stop_reason": None,
}


def event(kind: str, **values: Any) -> bytes:
    """Return one event as Anthropic writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n".encode()


START = event("message_start", message=MESSAGE)
PING = event("ping")
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TOOL = event("content_block_start", index=1, content_block={"type": "tool_use", "id": "t"})
WORD = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
END = event("content_block_stop", index=0)
WHY = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
STOP = event("message_stop")
ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def tap() -> StreamTap:
    """Return a tap whose head was read."""
    found = StreamTap(MESSAGES, 10_000)
    found.head(200, SSE)
    return found


def test_sound_stream_passes_unchanged() -> None:
    """A stream passes byte by byte; its facts count what was cached as asked."""
    judge, data = tap(), START + PING + BLOCK + WORD + END + TOOL + WHY + STOP
    judge.feed(data)
    judge.end()
    assert judge.take() == data
    facts = judge.facts
    assert (facts.prompt_tokens, facts.cached_tokens, facts.response_tokens) == (19, 5, 7)
    assert (facts.finish_reason, facts.tool_calls, facts.model_answered) == ("end_turn", 1, "c-1")


def test_usage_that_is_known_only_at_the_end_is_kept() -> None:
    """Servers that say 0 at the start and the number at the end (vLLM) are believed at the end."""
    judge = tap()
    none_yet = {"input_tokens": 0, "output_tokens": 0}
    used = {"input_tokens": 12, "output_tokens": 7}
    start = event("message_start", message={**MESSAGE, "usage": none_yet})
    why = event("message_delta", delta={"stop_reason": "end_turn"}, usage=used)
    judge.feed(start + WORD + why + STOP)
    assert (judge.facts.prompt_tokens, judge.facts.response_tokens) == (12, 7)


@pytest.mark.parametrize(
    ("code", "kind"), [("upstream_busy", "rate_limit_error"), ("no_upstream", "overloaded_error")]
)
def test_full_upstreams_are_told_in_anthropics_words(code: str, kind: str) -> None:
    """What may be repeated later says so by its type, as for OpenAI by its status."""
    body = ANTHROPIC.error_body("m", type_="upstream_error", code=code, param=None)
    assert json.loads(body)["error"]["type"] == kind


def test_frames_commit_nothing() -> None:
    """What stands around the content shows nothing; the first delta does."""
    judge = tap()
    assert not judge.feed(START + PING + BLOCK)
    assert judge.feed(WORD)


def test_end_without_stop_is_made_good_when_the_reason_is_known() -> None:
    """A message that said why it ended gets the stop it lacks; another one is a cut."""
    judge = tap()
    judge.feed(START + WORD + WHY)
    judge.end()
    assert judge.take() == START + WORD + WHY + STOP.replace(b'": "', b'":"')
    judge = tap()
    judge.feed(START + WORD)
    with pytest.raises(UpstreamFault) as raised:
        judge.end()
    assert raised.value.reason is Reason.STREAM_INTERRUPTED


def test_error_before_content_is_a_failure() -> None:
    """An error that comes first is one that another upstream may make good."""
    with pytest.raises(UpstreamFault) as raised:
        tap().feed(START + ERROR)
    assert raised.value.reason is Reason.UPSTREAM_ERROR


def test_upstreams_own_error_is_shown() -> None:
    """In the middle of an answer the upstream's own error is what the client sees, once."""
    judge = tap()
    judge.feed(START + WORD)
    with pytest.raises(UpstreamFault):
        judge.feed(ERROR)
    assert judge.take() == START + WORD + ERROR
    assert judge.last_words("message", "upstream_error") == b""


def test_error_that_comes_with_the_first_content_is_shown_with_it() -> None:
    """However a stream is cut, an error after content is told within the stream."""
    judge = tap()
    assert judge.feed(START + WORD + ERROR + WORD)
    assert judge.take() == START + WORD + ERROR
    with pytest.raises(UpstreamFault) as raised:
        judge.end()
    assert raised.value.reason is Reason.UPSTREAM_ERROR
    with pytest.raises(UpstreamFault):
        judge.feed(WORD)


def test_cut_is_told_as_an_event_with_a_name() -> None:
    """Our own words in a broken stream are an `error` event: clients skip events without names."""
    judge = tap()
    judge.feed(START + WORD)
    words = judge.last_words("It was cut.", "stream_interrupted")
    assert words is not None
    name, data, *_ = words.split(b"\n")
    assert name == b"event: error"
    error = json.loads(data.removeprefix(b"data: "))
    assert error == {"type": "error", "error": {"type": "api_error", "message": "It was cut."}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"type": "error", "error": {"type": "api_error", "message": "m"}}, "upstream_error"),
        ({"type": "message"}, "upstream_invalid"),
        ({}, "upstream_invalid"),
        ([], "upstream_invalid"),
    ],
)
def test_wrong_answers_are_refused(body: Any, reason: str) -> None:
    """Errors in a 200 and bodies without content are no answers."""
    judge = PlainTap(MESSAGES, 10_000)
    judge.head(200, JSON)
    judge.feed(json.dumps(body).encode())
    with pytest.raises(UpstreamFault) as raised:
        judge.end()
    assert raised.value.reason == reason


def test_plain_answer_is_read() -> None:
    """A message's tokens, tools and reason are known."""
    judge = PlainTap(MESSAGES, 10_000)
    judge.head(200, JSON)
    content = [{"type": "text", "text": "x"}, {"type": "tool_use"}]
    judge.feed(json.dumps(MESSAGE | {"content": content, "stop_reason": "tool_use"}).encode())
    judge.end()
    facts = judge.facts
    assert (facts.prompt_tokens, facts.response_tokens, facts.tool_calls) == (19, 1, 1)
    assert facts.finish_reason == "tool_use"


def test_count_of_tokens_is_read() -> None:
    """What was counted is what was asked."""
    judge = PlainTap(find_operation("POST", "/v1/messages/count_tokens"), 1000)
    judge.head(200, JSON)
    judge.feed(b'{"input_tokens": 12}')
    judge.end()
    assert judge.facts.prompt_tokens == 12


def test_user_of_the_metadata_is_who_asks() -> None:
    """`metadata.user_id` is the sticky key."""
    found = peek(b'{"model":"m","messages":[],"metadata":{"user_id":"u"}}')
    assert (found.model, found.user) == ("m", "u")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"m","metadata":{"user_id":5}}', "metadata.user_id"),
        (b'{"model":"m","stream":1}', "stream"),
    ],
)
def test_wrong_requests_name_the_parameter(body: bytes, param: str) -> None:
    """A field of the wrong type is named."""
    with pytest.raises(InvalidRequest) as raised:
        peek(body)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("body", "sound"),
    [
        ({"type": "error", "error": {"type": "t", "message": "m"}, "request_id": "r"}, True),
        ({"error": {"message": "m"}}, False),
        ({"type": "error", "error": "m"}, False),
        ([], False),
    ],
)
def test_sound_errors_are_told(body: Any, *, sound: bool) -> None:
    """Anthropic's clients read errors of their shape."""
    assert ANTHROPIC.is_error(json.dumps(body).encode()) is sound


def test_refusal_of_another_shape_is_written_anew() -> None:
    """A refusal in OpenAI's shape, as llama-server sends it, becomes one of Anthropic's."""
    judge = PlainTap(MESSAGES, 1000)
    judge.head(400, JSON)
    judge.feed(b'{"error": {"message": "m"}}')
    judge.end()
    written = judge.refusal()
    assert written is not None
    assert ANTHROPIC.is_error(written)
    judge = PlainTap(MESSAGES, 1000)
    judge.head(400, JSON)
    judge.feed(b'{"type":"error","error":{"type":"t","message":"m"}}')
    assert judge.refusal() is None


def test_words_are_read() -> None:
    """The texts of system, messages and answer are what monitors watch."""
    request = {"system": "Be brief.", "messages": [{"content": [{"type": "text", "text": "Hi"}]}]}
    asked = ANTHROPIC.texts.asked(json.dumps(request).encode())
    assert asked is not None
    assert asked.prompt == "Be brief.\nHi"
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}]
    answer = json.dumps({"content": content}).encode()
    assert ANTHROPIC.texts.answer(answer, "application/json") == "Hello"
    assert ANTHROPIC.texts.answer(START + WORD + WORD + STOP, "text/event-stream") == "hihi"
    assert ANTHROPIC.texts.answer(ANTHROPIC.texts.stream_of("x"), "text/event-stream") == "x"
    assert ANTHROPIC.texts.answer(b'{"content":[{"type":"tool_use"}]}', "application/json") is None
