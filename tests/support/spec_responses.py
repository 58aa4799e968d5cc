"""Answers of `/responses`: created, streamed, kept, listed, cancelled, deleted."""

from collections.abc import Iterator
from typing import Any

from support.spec_objects import Shelf
from support.spec_wire import (
    CACHED_TOKENS,
    CREATED_AT,
    REASONING_TOKENS,
    SpecAnswer,
    SpecError,
    SpecRequest,
    events,
    json_answer,
    page,
    short,
    tokens,
)

ITEM = "msg_spec"


class Responses:
    """The handlers, over a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def create(self, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /responses`."""
        asked = request.json
        if "input" not in asked:
            raise SpecError(400, "Missing required parameter: 'input'.")
        text = f"answer {short(asked['input'])} given"
        done = _response(asked, text, "in_progress" if asked.get("background") else "completed")
        self.shelf.put(done)
        counts = _counts(done["usage"])
        if not request.wants_stream:
            return json_answer(done).counting(*counts)
        stream = enumerate(_stream(asked, text, done))
        numbered = ({**one, "sequence_number": number} for number, one in stream)
        return events((one["type"], one) for one in numbered).counting(*counts)

    def input_items(self, identity: str) -> SpecAnswer:
        """Answer `GET /responses/ID/input_items`."""
        kept = self.shelf.get(identity)
        content = [{"type": "input_text", "text": kept["metadata"]["input"]}]
        item = {"id": "msg_in", "type": "message", "role": "user", "content": content}
        return page([{**item, "status": "completed"}])

    def cancel(self, identity: str) -> SpecAnswer:
        """Answer `POST /responses/ID/cancel`."""
        if self.shelf.get(identity)["status"] != "in_progress":
            raise SpecError(400, "Cannot cancel a synchronous response.")
        return self.shelf.put({**self.shelf.get(identity), "status": "cancelled"})


def _counts(usage: dict[str, Any] | None) -> tuple[int, ...]:
    if usage is None:
        return ()
    return usage["input_tokens"], usage["output_tokens"], CACHED_TOKENS, REASONING_TOKENS


def _message(text: str, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    content = [part] if text else []
    item = {"id": ITEM, "type": "message", "role": "assistant", "status": status}
    return {**item, "content": content}


def _response(asked: dict[str, Any], text: str, status: str) -> dict[str, Any]:
    given, said = tokens(asked["input"]), tokens(text)
    finished = status == "completed"
    usage = {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": CACHED_TOKENS, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
        "total_tokens": given + said,
    }
    return {
        "id": f"resp_{short(asked['input'])}",
        "object": "response",
        "created_at": CREATED_AT,
        "status": status,
        "background": bool(asked.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {"input": str(asked["input"])},
        "model": asked.get("model"),
        "output": [_message(text)] if finished else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if finished else None,
    }


def _stream(asked: dict[str, Any], text: str, done: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = _response(asked, text, "in_progress")
    at = {"item_id": ITEM, "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    item = _message("", "in_progress")
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.content_part.added", **at, "part": empty}
    for start in range(0, len(text), 6):
        delta = {"delta": text[start : start + 6], "logprobs": [], "obfuscation": "aB"}
        yield {"type": "response.output_text.delta", **at, **delta}
    yield {"type": "response.output_text.done", **at, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": {**empty, "text": text}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _message(text)}
    yield {"type": "response.completed", "response": done}
