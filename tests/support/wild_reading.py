"""Reads whole answers by the book: what a tap beside the stream must have found as well."""

import json
import re
from typing import Any, NamedTuple

_EOL = re.compile(rb"\r\n|\n|\r")


class Said(NamedTuple):
    """What an answer says of itself, under the names of the prediction record."""

    model_answered: str | None
    version: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    response_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None


def data_of(stream: bytes) -> list[bytes]:
    """Return the data of every event (HTML, server-sent events, §9.2.6)."""
    found: list[bytes] = []
    lines: list[bytes] = []
    for line in _EOL.split(stream.removeprefix(b"\xef\xbb\xbf")):
        if not line and lines:
            found.append(b"\n".join(lines))
            lines = []
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return found


def said_by_stream(stream: bytes) -> Said:
    """Return what a stream of chat chunks says, later chunks before earlier ones."""
    chunks = [json.loads(data) for data in data_of(stream) if data != b"[DONE]"]
    return _said(chunks)


def said_by_answer(body: bytes) -> Said:
    """Return what a plain chat completion says."""
    return _said([json.loads(body)])


def _said(values: list[dict[str, Any]]) -> Said:
    usage = _last(value.get("usage") for value in values) or {}
    choices = [choice for value in values for choice in value.get("choices", ())]
    return Said(
        _last(value.get("model") for value in values),
        _last(value.get("system_fingerprint") for value in values),
        _last(choice.get("finish_reason") for choice in choices),
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        (usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
    )


def _last(values: Any) -> Any:
    return next(iter([value for value in values if value is not None][::-1]), None)
