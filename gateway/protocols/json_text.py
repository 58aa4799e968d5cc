"""Words in recorded JSON and event streams, read without trusting their shape."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

_MAX_DEPTH = 16  # of texts in parts of messages; deeper ones are no protocol's, but an attack

_USUAL_EVENT = re.compile(rb"(?:\A|\n\n)(?:event:[^\n]*\n)?data:([^\n]*)(?=\n\n|\Z)")

Event = TypeVar("Event")


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object, None for anything else."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield every text of a message, a list of them, or its parts, in order."""
    if isinstance(value, str):
        yield value
    elif depth >= _MAX_DEPTH:
        return
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, depth + 1)
    elif isinstance(value, dict):
        yield from texts(value.get("content", value.get("text")), depth + 1)


def event_objects(stream: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that a stream's events carry, in order."""
    lines: list[bytes] = []
    for line in (*stream.removeprefix(b"\xef\xbb\xbf").splitlines(), b""):
        if line.startswith(b"data:"):
            lines.append(line[5:])
        elif not line and lines:
            # An object may be written over several lines.
            data = json_object(b"\n".join(lines))
            lines = []
            if data is not None:
                yield data


def decoded_events(stream: bytes, decoder: "msgspec.json.Decoder[Event]") -> list[Event] | None:
    """Return a stream's events as structs, several times as quick as `event_objects`.

    None for what takes a closer look: another way to write lines or objects than the usual one,
    or an object that is no such struct.
    """
    if b"\r" in stream:
        return None
    lines = _USUAL_EVENT.findall(stream)
    if len(lines) != stream.count(b"\ndata:") + stream.startswith(b"data:"):
        return None
    if lines and lines[-1].strip() == b"[DONE]":
        lines.pop()
    try:
        return decoder.decode_lines(b"\n".join(lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def first_of(value: Any) -> dict[str, Any]:
    """Return the first object of a list, an empty one if there is none."""
    found = value[0] if isinstance(value, list) and value else None
    return found if isinstance(found, dict) else {}


def object_of(value: Any) -> dict[str, Any]:
    """Return an object, an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}
