"""Answers of Anthropic's API: messages, plain and as events, and the count of tokens."""

import json
from collections.abc import Iterator
from typing import Any

from support.spec_wire import SpecAnswer, SpecError, SpecRequest, events, json_answer, short, tokens

CACHE_READ, CACHE_WRITTEN = 5, 4


def messages(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /messages`."""
    asked = request.json
    if not asked.get("max_tokens"):
        raise SpecError(400, "max_tokens: Field required")
    content = _content(asked)
    usage = {
        "input_tokens": tokens(asked["messages"]),
        "cache_creation_input_tokens": CACHE_WRITTEN,
        "cache_read_input_tokens": CACHE_READ,
        "output_tokens": tokens(content),
        "service_tier": "standard",
    }
    message = {
        "id": f"msg_{short(asked['messages'])}",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": "tool_use" if asked.get("tools") else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if asked["model"] == "late-error":
        begun, *rest = _stream(message)
        shown = {"type": "overloaded_error", "message": "Overloaded"}
        cut = [begun, *rest[:4], {"type": "error", "error": shown}]
        return events((one["type"], one) for one in cut)
    # What was cached is a part of the prompt, though Anthropic counts it apart.
    given = tokens(asked["messages"]) + CACHE_READ + CACHE_WRITTEN
    counts = (given, tokens(content), CACHE_READ)
    if request.wants_stream:
        return events((one["type"], one) for one in _stream(message)).counting(*counts)
    return json_answer(message).counting(*counts)


def _content(asked: dict[str, Any]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if asked.get("thinking"):
        content.append({"type": "thinking", "thinking": "let me see", "signature": "c2lnbmVk"})
    content.append({"type": "text", "text": f"Grüße, {short(asked['messages'])} to you"})
    if asked.get("tools"):
        name = asked["tools"][0]["name"]
        given = {"city": short(asked["messages"]), "days": 3}
        content.append({"type": "tool_use", "id": "toolu_spec", "name": name, "input": given})
    return content


def _stream(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        start, deltas = _deltas(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    # The closing usage repeats the whole count, as the real one does.
    yield {"type": "message_delta", "delta": end, "usage": {**usage, "service_tier": None}}
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it starts, and what comes after."""
    if block["type"] == "thinking":
        parts = [{"type": "thinking_delta", "thinking": part} for part in ("let me", " see")]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*parts, signed]
    if block["type"] == "tool_use":
        text = json.dumps(block["input"])
        cut = [text[at : at + 7] for at in range(0, len(text), 7)]
        parts = [{"type": "input_json_delta", "partial_json": part} for part in cut]
        return {**block, "input": {}}, parts
    words = block["text"].split(" ")
    texts = [word if number == 0 else f" {word}" for number, word in enumerate(words)]
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]


def batch(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /messages/batches`, `GET /messages/batches/ID` and `.../cancel`."""
    kinds = ("processing", "succeeded", "errored", "canceled", "expired")
    return json_answer(
        {
            "id": "msgbatch_spec",
            "type": "message_batch",
            "processing_status": "canceling" if request.path.endswith("cancel") else "in_progress",
            "request_counts": dict.fromkeys(kinds, 0) | {"processing": 1},
            "created_at": "2026-11-01T00:00:00Z",
            "expires_at": "2026-11-02T00:00:00Z",
            "ended_at": None,
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": None,
        }
    )


def models(_: SpecRequest) -> SpecAnswer:
    """Answer `GET /models`."""
    model = {"type": "model", "id": "claude-spec", "display_name": "Claude Spec"}
    model |= {"created_at": "2026-11-01T00:00:00Z", "lifecycle": "active"}
    listed = {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}
    return json_answer(listed)


def count_tokens(request: SpecRequest) -> SpecAnswer:
    """Answer `POST /messages/count_tokens`."""
    count = tokens(request.json["messages"])
    return json_answer({"input_tokens": count}).counting(count)
