"""The words of a recorded request and answer, read at ingest, far from the hot path."""

from collections.abc import Iterator
from typing import Any

import msgspec

_decode = msgspec.json.decode
_MAX_DEPTH = 16  # of texts in parts of messages; deeper ones are no protocol's, but an attack


def prompt_text(request: bytes) -> str | None:
    """Return what the client asked: every text of `messages`, `prompt` or `input`, in order.

    None when the body is cut or not JSON: a part of a prompt is not a prompt.
    """
    data = _object(request)
    if data is None:
        return None
    if "messages" in data:
        return "\n".join(_texts(data["messages"]))
    return "\n".join(_texts(data.get("prompt", data.get("input"))))


def answer_text(response: bytes, response_type: str) -> str | None:
    """Return what the model said: the first choice's text, joined from events if streamed."""
    if response_type.startswith("text/event-stream"):
        return "".join(_stream_texts(response))
    data = _object(response)
    choices = data.get("choices") if data is not None else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else choices[0].get("text")
    return text if isinstance(text, str) else None


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        data = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth >= _MAX_DEPTH:
        return
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, depth + 1)
    elif isinstance(value, dict):
        yield from _texts(value.get("content", value.get("text")), depth + 1)


def _stream_texts(response: bytes) -> Iterator[str]:
    for line in response.splitlines():
        if not line.startswith(b"data:"):
            continue
        data = _object(line[5:])
        choices = data.get("choices") if data is not None else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            continue
        delta = choices[0].get("delta")
        text = delta.get("content") if isinstance(delta, dict) else choices[0].get("text")
        if isinstance(text, str):
            yield text
