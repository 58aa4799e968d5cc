import gzip
import itertools
import json
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.openai import DONE
from gateway.protocols.table import find_operation
from gateway.stream_tap import StreamTap
from gateway.tap import ERROR_BYTES
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

CHAT = find_operation("POST", "/v1/chat/completions")
COMPLETION = find_operation("POST", "/v1/completions")
SSE: Headers = [(b"Content-Type", b"text/event-stream; charset=utf-8")]


def event(value: Any, name: str = "") -> bytes:
    """Return one event."""
    text = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """Return a chat chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "m-1", "choices": [choice]}


USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
CODERS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}
ROLE = event(chunk(role="assistant", content=""))
WORD = event(chunk(content="word"))
STOP = event(chunk(finish="stop"))


def tap(headers: Headers = SSE, status: int = 200, **options: Any) -> StreamTap:
    """Return a tap whose head was read."""
    found = StreamTap(CHAT, options.pop("keep_bytes", 10_000), **options)
    found.head(status, headers)
    return found


def reason_of(*pieces: bytes, ended: bool = True) -> Reason | None:
    """Return how a stream is judged."""
    judge = tap()
    try:
        for piece in pieces:
            judge.feed(piece)
        if ended:
            judge.end()
    except UpstreamFault as fault:
        return fault.reason
    return None


def test_sound_stream_passes_unchanged() -> None:
    """A sound stream passes byte by byte, and says how it ended."""
    judge, data = tap(), ROLE + WORD + STOP + DONE
    judge.feed(data)
    judge.end()
    assert judge.take() == data
    assert (judge.done, judge.facts.finish_reason, judge.facts.model_answered) == (
        True,
        "stop",
        "m-1",
    )


def test_a_stream_without_tools_called_none() -> None:
    """An answer that ended without a call has called no tool, as a plain answer has."""
    judge = tap()
    judge.feed(ROLE + WORD)
    assert judge.facts.tool_calls is None
    judge.feed(STOP + DONE)
    assert judge.facts.tool_calls == 0


@given(st.lists(st.integers(0, 700), max_size=20))
def test_verdict_does_not_depend_on_chunks(cuts: list[int]) -> None:
    """However a stream arrives, the client is shown the same bytes and the facts are the same."""
    data = b": hi\r\n\r\n" + ROLE + WORD + event({"choices": [], "usage": {}}) + STOP + DONE
    at = sorted({min(one, len(data)) for one in cuts} | {0, len(data)})
    judge, shown = tap(), b""
    for a, b in itertools.pairwise(at):
        judge.feed(data[a:b])
        shown += judge.take()
    assert shown == data
    assert judge.facts.finish_reason == "stop"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"content": [{"type": "text", "text": "x"}]},
        {"reasoning": "x"},
        {"reasoning_content": "x"},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"id": "a"}},
    ],
    ids=lambda delta: f"{next(iter(delta))}-{type(next(iter(delta.values()))).__name__}",
)
def test_content_of_any_kind_commits(delta: dict[str, Any]) -> None:
    """Text, reasoning, refusals, tool calls and audio are content."""
    assert tap().feed(event(chunk(**delta)))


@pytest.mark.parametrize(
    "data",
    [
        ROLE,
        event(chunk(content=None)),
        event(chunk(content="", tool_calls=[])),
        event(chunk(reasoning_content="")),
        event({"choices": [], "usage": None}),
        event({"choices": [], "usage": {"prompt_tokens": 3}}),
        event({"choices": [{"index": 0, "delta": None}]}),
        event({"choices": [{"index": 0, "text": ""}]}),
        b": ping\n\n",
        b":\n\n",
        b"retry: 100\n\n",
        b"event: ping\n\n",
    ],
    ids=lambda data: data.decode()[-60:].strip(),
)
def test_what_shows_nothing_commits_nothing(data: bytes) -> None:
    """Roles, empty deltas, usage, comments and pings are no content."""
    judge = tap()
    assert not judge.feed(data)
    assert judge.content_events == 0


def test_completions_text_is_content() -> None:
    """The text of the older protocol is content, too."""
    judge = StreamTap(COMPLETION, 1000)
    judge.head(200, SSE)
    assert judge.feed(event({"choices": [{"index": 0, "text": "x"}]}))


@pytest.mark.parametrize(
    "bad",
    [
        event({"error": {"message": "m", "type": "t", "code": 500}}),
        event({"error": {"message": "m", "type": "t", "param": None, "code": "server_error"}}),
        event({"error": "a string"}),
        event({"error": {}}),
        event({"object": "error", "message": "engine died", "type": "InternalServerError"}),
        event({"error": {"message": "m"}}, name="error"),
        event("overloaded", name="error"),
        b"event: error\n\n",
        event({"choices": [], "error": {"message": "m"}}),
    ],
    ids=["vllm", "openai", "string", "empty", "object", "named", "text", "dataless", "beside"],
)
@pytest.mark.parametrize("before", [b"", ROLE, WORD, STOP], ids=["first", "role", "word", "stop"])
def test_error_of_every_shape_is_an_error(bad: bytes, before: bytes) -> None:
    """Errors of OpenAI, vLLM, llama-server and others are errors wherever they stand."""
    assert reason_of(before + bad, DONE) is Reason.UPSTREAM_ERROR


@pytest.mark.parametrize(
    "bad",
    [
        b"<html>Bad gateway</html>\n\n",
        b'{"choices": []}\n\n',
        event("null"),
        event("[]"),
        event('"text"'),
        event("7"),
        event("{}"),
        event({"choices": None}),
        event({"choices": {}}),
        event({"choices": [7]}),
        event({"choices": [{"delta": "text"}]}),
        event({"model": "m"}),
        event('{"choices": [{"ind'),
        event("NaN"),
        b"data:\n\n",
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        event("[" * 100_000),
    ],
    ids=lambda data: data.decode("latin-1")[:40],
)
@pytest.mark.parametrize("before", [b"", WORD], ids=["first", "after"])
def test_event_of_no_kind_is_invalid(bad: bytes, before: bytes) -> None:
    """What is not a JSON object with choices or usage is refused, never passed on."""
    assert reason_of(before + bad) is Reason.UPSTREAM_INVALID


@pytest.mark.parametrize("data", [b"", ROLE, WORD, b": hi\n\n", WORD + WORD])
def test_end_without_finish_reason_is_a_cut(data: bytes) -> None:
    """A clean end of the bytes is no end of the answer."""
    assert reason_of(data) is Reason.STREAM_INTERRUPTED


def choice_of(index: int, finish: str | None = None, **delta: Any) -> bytes:
    """Return an event of one of several choices."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"choices": [choice]})


def test_every_choice_that_was_begun_must_end() -> None:
    """A stream that ends while one of several choices goes on was cut; else it is whole."""
    both = choice_of(0, content="a") + choice_of(1, content="b") + choice_of(0, "stop")
    assert reason_of(both) is Reason.STREAM_INTERRUPTED
    assert reason_of(both + choice_of(1, "length")) is None


def test_first_choice_says_how_the_answer_ended() -> None:
    """The reason is the first choice's, whichever ends last, as it is of a plain answer."""
    judge = tap()
    judge.feed(choice_of(1, "length") + choice_of(0, "stop") + choice_of(2, "length") + DONE)
    assert judge.facts.finish_reason == "stop"


def test_end_within_an_event_is_a_cut() -> None:
    """Half an event at the end is a cut, not nonsense of the upstream's."""
    assert reason_of(WORD + STOP[:20]) is Reason.STREAM_INTERRUPTED


def test_half_an_event_after_the_finish_is_dropped() -> None:
    """An answer that was finished stays so when its usage is cut off."""
    judge = tap()
    judge.feed(WORD + STOP + b'data: {"usage": {"pro')
    judge.end()
    assert judge.take() == WORD + STOP + DONE


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b"\r"], ids=["none", "lf", "crlf", "cr"])
def test_last_event_and_added_done_stay_apart(tail: bytes) -> None:
    """A last event without its blank line gets one before `[DONE]` is added."""
    judge = tap()
    judge.feed(WORD + STOP.rstrip() + tail)
    judge.end()
    shown = judge.take().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    blocks = [block.strip() for block in shown.split(b"\n\n") if block.strip()]
    assert blocks == [WORD.strip(), STOP.strip(), b"data: [DONE]"]


@pytest.mark.parametrize("data", [DONE, ROLE + DONE, b": hi\n\n" + DONE])
def test_done_alone_is_no_answer(data: bytes) -> None:
    """`[DONE]` without any content is a failure that another upstream may make good."""
    assert reason_of(data) is Reason.UPSTREAM_INVALID


def test_done_without_finish_reason_is_passed_and_said() -> None:
    """Content and `[DONE]` without a finish reason pass, and the record says what is missing."""
    judge = tap()
    judge.feed(WORD + DONE)
    judge.end()
    assert judge.take() == WORD + DONE
    assert judge.facts.finish_reason == "missing"


def test_what_follows_done_is_dropped() -> None:
    """Nothing after `[DONE]` reaches the client, whether it comes with it or later."""
    judge = tap()
    judge.feed(WORD + STOP + DONE + b"<html>\n\n")
    assert judge.done
    assert judge.take() == WORD + STOP + DONE


def test_usage_event_is_hidden_if_not_asked_for() -> None:
    """The usage that the gateway asked for is recorded and not shown."""
    judge = tap(hide_usage=True)
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    judge.feed(WORD + STOP + event({"choices": [], "usage": usage}) + DONE)
    assert judge.take() == WORD + STOP + DONE
    facts = judge.facts
    assert (facts.prompt_tokens, facts.response_tokens) == (5, 2)
    assert (facts.cached_tokens, facts.reasoning_tokens) == (1, 0)


def test_usage_in_every_chunk_counts_once() -> None:
    """Servers that count along send the usage in every event: the last one is the answer's."""
    judge = tap(hide_usage=True)
    for count in (1, 2, 3):
        one = chunk(content="x") | {"usage": {"prompt_tokens": 9, "completion_tokens": count}}
        judge.feed(event(one))
    assert judge.facts.response_tokens == 3
    assert judge.take().count(b"data:") == 3


def test_null_usage_keeps_what_was_known() -> None:
    """A null usage in the last event does not wipe out the one before."""
    judge = tap()
    judge.feed(event(chunk(content="x") | {"usage": {"completion_tokens": 4}}))
    judge.feed(event(chunk(finish="stop") | {"usage": None}))
    assert judge.facts.response_tokens == 4


@pytest.mark.parametrize(
    "content_type", [b"", b"text/html", b"application/json", b"text/plain", b"text/event"]
)
def test_other_content_types_are_refused(content_type: bytes) -> None:
    """An answer to a stream request that is no event stream is refused at its head."""
    with pytest.raises(UpstreamFault) as raised:
        tap([(b"content-type", content_type)] if content_type else [])
    assert raised.value.reason is Reason.UPSTREAM_INVALID


def test_content_type_is_compared_without_case() -> None:
    """Media types are case-insensitive (RFC 9110 §8.3.1)."""
    assert tap([(b"CONTENT-TYPE", b"Text/Event-Stream")]).stream


@pytest.mark.parametrize("cut", [1, 7, 10_000])
@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_coded_stream_is_judged_and_passes_as_it_is(coding: bytes, cut: int) -> None:
    """A gzip stream's facts are read from a look into it; its bytes are not touched."""
    data = CODERS[coding](ROLE + WORD + STOP + event({"choices": [], "usage": USAGE}) + DONE)
    judge = tap([*SSE, (b"Content-Encoding", coding)], hide_usage=True)
    shown = b""
    for at in range(0, len(data), cut):
        judge.feed(data[at : at + cut])
        shown += judge.take()
    judge.end()
    assert shown + judge.take() == data
    assert (judge.facts.finish_reason, judge.facts.prompt_tokens) == ("stop", 5)
    assert judge.text.endswith(DONE)
    assert judge.last_words("m", "c") is None


def test_coded_stream_that_is_cut_is_interrupted() -> None:
    """A coded stream that ends before its answer does is a cut."""
    judge = tap([*SSE, (b"Content-Encoding", b"gzip")])
    judge.feed(gzip.compress(ROLE + WORD))
    with pytest.raises(UpstreamFault) as raised:
        judge.end()
    assert raised.value.reason is Reason.STREAM_INTERRUPTED


@pytest.mark.parametrize("data", [b"not gzip at all", gzip.compress(b"\0" * 3_000_000)])
def test_coded_stream_that_cannot_be_read_is_invalid(data: bytes) -> None:
    """What is not of its coding, or inflates without end, is no answer."""
    judge = tap([*SSE, (b"Content-Encoding", b"gzip")], max_bytes=1_000_000)
    with pytest.raises(UpstreamFault) as raised:
        judge.feed(data)
    assert raised.value.reason is Reason.UPSTREAM_INVALID


def test_unknown_coding_passes_unread() -> None:
    """A coding that cannot be undone passes as it is, and nothing is known of it."""
    judge = tap([*SSE, (b"Content-Encoding", b"br")])
    assert judge.feed(b"\x0b\x02\x80")
    assert judge.take() == b"\x0b\x02\x80"
    judge.end()
    assert judge.facts.finish_reason is None


def test_refusal_is_read_whole() -> None:
    """A 400 to a stream request is held and kept whole, however little of a stream is kept."""
    judge = tap([(b"Content-Type", b"application/json")], 400, keep_bytes=0)
    body = msgspec.json.encode({"error": {"message": "x" * (ERROR_BYTES - 100)}})
    assert not judge.feed(body[:10])
    assert not judge.feed(body[10:])
    judge.end()
    assert judge.is_client_error
    assert judge.body == body


def test_kept_copy_is_bounded() -> None:
    """A stream of any length leaves no more than was asked for, and says that it was cut."""
    judge = tap(keep_bytes=100)
    for _ in range(50):
        judge.feed(WORD)
        judge.take()
    assert len(judge.body) == 100
    assert judge.truncated
    assert judge.received_bytes == 50 * len(WORD)


def test_event_without_end_is_refused() -> None:
    """An event that grows past its limit is refused."""
    assert reason_of(*[b"x" * 100_000] * 20, ended=False) is Reason.UPSTREAM_INVALID


def test_endless_answer_is_cut() -> None:
    """An answer longer than allowed is a fault, however sound each event is."""
    judge = tap(max_bytes=3 * len(WORD))
    for _ in range(3):
        judge.feed(WORD)
    with pytest.raises(UpstreamFault) as raised:
        judge.feed(WORD)
    assert raised.value.reason is Reason.UPSTREAM_INVALID
