"""The smallest edits to a request body: the model's name, and asking a stream for its usage."""

import re

import msgspec

from gateway.protocols import openai

_INCLUDE_USAGE = b'"stream_options":{"include_usage":true},'


def with_model(body: bytes, old: str, new: str) -> bytes:
    """Return a body whose top-level `model` is `new`; every other byte stays.

    The value may also stand in nested objects and in prompts, so each candidate is checked by
    reading the edited body back.
    """
    pattern = rb'("model"\s*:\s*)' + re.escape(msgspec.json.encode(old))
    replacement = msgspec.json.encode(new)
    for match in re.finditer(pattern, body):
        edited = body[: match.end(1)] + replacement + body[match.end() :]
        if openai.peek(edited).model == new:
            return edited
    # Written with escapes, or twice: the object is written again, its values untouched.
    return _with_field(body, "model", new)


def with_usage(body: bytes, peek: openai.Peek) -> bytes:
    """Return a streaming body that asks for the usage event."""
    if peek.stream_options is None and b'"stream_options"' not in body:
        start = body.index(b"{") + 1
        return body[:start] + _INCLUDE_USAGE + body[start:]
    return _with_field(body, "stream_options", {"include_usage": True})


def _with_field(body: bytes, name: str, value: object) -> bytes:
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)
