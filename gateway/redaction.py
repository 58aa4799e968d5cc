"""Takes out of bodies what may not be written: `record.redact`.

A secret hides from a pattern over raw bytes when JSON writes it with escapes or a stream cuts it
into events, so patterns are matched against what the bodies say.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.protocols.json_text import event_objects
from gateway.protocols.protocol import Texts
from gateway.protocols.table import OPENAI

MARK = "[redacted]"
MARGIN_BYTES = 4_096
"""A body is kept so much longer than it is stored, or half a secret could stay at the cut."""
MAX_PARSED_BYTES = 1_048_576
"""A longer body is not read, its bytes are matched as they are."""

_GROWING = ("choices", "delta")  # what of an event goes on where the one before has stopped
_PLACES = ("index", "output_index", "content_index", "item_id")
_MAX_DEPTH = 16

Place = tuple[object, ...]


class Redactor:
    """The patterns of a configuration, compiled once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)
        self._raw_patterns = tuple(re.compile(pattern.encode()) for pattern in patterns)

    def __bool__(self) -> bool:
        """Say whether there is anything to take out."""
        return bool(self._patterns)

    def body(self, body: bytes, content_type: str, texts: Texts = OPENAI.texts) -> bytes:
        """Return a body without what the patterns match; another one only where they do.

        Parameters
        ----------
        texts : Texts
            Of the protocol: it reads the words that a stream cuts into events.
        """
        if not self._patterns or not body:
            return body
        if len(body) > MAX_PARSED_BYTES:
            return self._raw(body)
        try:
            if content_type.startswith("text/event-stream"):
                return self._raw(self._stream(body, content_type, texts))
            data = msgspec.json.decode(body)
            cleaned = self._value(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._raw(body)
        return self._raw(body if cleaned == data else msgspec.json.encode(cleaned))

    def _stream(self, body: bytes, content_type: str, texts: Texts) -> bytes:
        """Return the stream, or its text alone as one event where a pattern matches its pieces."""
        joined: dict[Place, list[str]] = {}
        for event in event_objects(body):
            at = tuple([_name(event[name]) for name in _PLACES if name in event])
            for key in _GROWING:
                if key in event:
                    _collect(event[key], (at, key), joined)
        said = ("".join(pieces) for pieces in joined.values())
        if all(self._text(text) == text for text in said):
            return body
        # What else was said in pieces, such as arguments of tools, is left out.
        return texts.stream_of(self._text(texts.answer(body, content_type) or ""))

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {self._text(key): self._value(item) for key, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(MARK, text)
        return text

    def _raw(self, body: bytes) -> bytes:
        for pattern in self._raw_patterns:
            body = pattern.sub(MARK.encode(), body)
        return body


def _collect(value: Any, place: Place, joined: dict[Place, list[str]]) -> None:
    """Add every text within a part of an event to what was said in its place before."""
    if isinstance(value, str):
        joined.setdefault(place, []).append(value)
    elif isinstance(value, dict):
        at = _name(value.get("index"))
        for key, item in value.items():
            # Most of what an event holds says nothing.
            if item and len(place) < _MAX_DEPTH:
                _collect(item, (*place, at, key), joined)
    elif isinstance(value, list):
        for item in value:
            _collect(item, place, joined)


def _name(value: Any) -> int | str | None:
    """Return what can stand for a place; upstreams may send anything."""
    return value if isinstance(value, int | str) else None
