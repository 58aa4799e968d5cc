"""Strategies: sound streams whose events say their type, Anthropic's and those of responses."""

from typing import Any, NamedTuple

from hypothesis import strategies as st
from support.wild_answers import TOKENS, WORDS, WildEvent, details, rendered, with_comments
from support.wild_reading import Said

_SMALL = st.integers(0, 2**20)  # sums of them are still counts


class Typed(NamedTuple):
    """The bytes of a stream, and what its record must say."""

    sent: bytes
    said: Said


@st.composite
def _named(draw: st.DrawFn, value: dict[str, Any]) -> bytes:
    """Return an event with its type as its name."""
    data = draw(rendered(value, lines=False))
    eol = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    lines = [b"event: " + value["type"].encode(), b"data: " + data]
    return eol.join([*draw(st.permutations(lines)), b"", b""])


def _joined(draw: st.DrawFn, values: list[dict[str, Any]]) -> bytes:
    events = [WildEvent(draw(_named(value))) for value in values]
    return b"".join(event.raw for event in with_comments(draw, events))


def anthropic_usages() -> st.SearchStrategy[dict[str, Any]]:
    """Return the usage at the start of a message."""
    return st.fixed_dictionaries(
        {"input_tokens": _SMALL, "output_tokens": st.just(1)},
        optional={
            "cache_read_input_tokens": _SMALL,
            "cache_creation_input_tokens": _SMALL,
            "service_tier": st.just("standard"),
        },
    )


@st.composite
def anthropic_streams(draw: st.DrawFn) -> Typed:
    """Return the stream of a message."""
    usage, said = draw(anthropic_usages()), draw(_SMALL)
    reason = draw(st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal"]))
    message = {"id": "msg", "type": "message", "role": "assistant", "model": "c-1", "content": []}
    values: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": usage, "stop_reason": None}}
    ]
    for index in range(draw(st.integers(1, 3))):
        values += draw(_blocks(index))
    closing = {**draw(st.sampled_from([{}, usage])), "output_tokens": said}
    values.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": closing})
    values.append({"type": "message_stop"})
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    given = usage["input_tokens"] + (read or 0) + (written or 0)
    return Typed(_joined(draw, values), Said("c-1", None, reason, given, said, read, None))


@st.composite
def _blocks(draw: st.DrawFn, index: int) -> list[dict[str, Any]]:
    """Return the events of one block of content."""
    at = {"index": index}
    kind = draw(st.sampled_from(["text", "thinking", "tool_use"]))
    block: dict[str, Any] = {"type": kind}
    block |= {"id": "t", "name": "f", "input": {}} if kind == "tool_use" else {kind: ""}
    name, key = {
        "text": ("text_delta", "text"),
        "thinking": ("thinking_delta", "thinking"),
        "tool_use": ("input_json_delta", "partial_json"),
    }[kind]
    deltas = [{"type": name, key: word} for word in draw(st.lists(WORDS, min_size=1, max_size=4))]
    values = [{"type": "content_block_start", **at, "content_block": block}]
    if draw(st.booleans()):
        values.append({"type": "ping"})
    values += [{"type": "content_block_delta", **at, "delta": delta} for delta in deltas]
    return [*values, {"type": "content_block_stop", **at}]


def response_usages() -> st.SearchStrategy[dict[str, Any]]:
    """Return the usage of a response."""
    return st.fixed_dictionaries(
        {"input_tokens": TOKENS, "output_tokens": TOKENS},
        optional={
            "total_tokens": TOKENS,
            "input_tokens_details": details("cached_tokens"),
            "output_tokens_details": details("reasoning_tokens"),
        },
    )


@st.composite
def response_streams(draw: st.DrawFn) -> Typed:
    """Return the stream of a response."""
    usage, cut = draw(response_usages()), draw(st.booleans())
    begun: dict[str, Any] = {
        "id": "resp",
        "object": "response",
        "status": "in_progress",
        "model": "r-1",
    }
    last: dict[str, Any] = {
        **begun,
        "status": "incomplete" if cut else "completed",
        "usage": usage,
        "output": [],
    }
    if cut:
        last["incomplete_details"] = {"reason": "max_output_tokens"}
    values: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for word in draw(st.lists(WORDS, min_size=1, max_size=6)):
        kind = draw(st.sampled_from(["output_text", "function_call_arguments", "of_some_vendor"]))
        values.append({"type": f"response.{kind}.delta", "delta": word, "output_index": 0})
    values.append({"type": f"response.{last['status']}", "response": last})
    numbered = [{**value, "sequence_number": number} for number, value in enumerate(values)]
    said = Said(
        "r-1",
        None,
        "max_output_tokens" if cut else "completed",
        usage["input_tokens"],
        usage["output_tokens"],
        (usage.get("input_tokens_details") or {}).get("cached_tokens"),
        (usage.get("output_tokens_details") or {}).get("reasoning_tokens"),
    )
    return Typed(_joined(draw, numbered), said)
