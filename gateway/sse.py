"""Cuts a byte stream into server-sent events (WHATWG HTML §9.2) without changing a byte."""

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 1_048_576
_OTHER_FIELDS = frozenset({b"", b"id", b"retry"})  # b"": a blank line, or a comment
# A lone CR after LF could be the first half of CRLF, so it needs the byte behind it.
_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\n\r(?=[^\n])|\r\r")


class EventTooLongError(ValueError):
    """An event grew past `MAX_EVENT_BYTES`."""


class Event(NamedTuple):
    """One event.

    Attributes
    ----------
    raw : bytes
        Its bytes as received, its blank line included.
    name : bytes
        Value of `event:`, b"" if none.
    data : bytes or None
        Values of `data:` joined by newlines; None when there is none (comments, pings).
    foreign : bool
        A line has no field that the specification knows: this is no event stream.
    """

    raw: bytes
    name: bytes
    data: bytes | None
    foreign: bool = False


class EventSplitter:
    """Collects chunks and returns the events they complete; linear in the bytes fed."""

    __slots__ = ("_buffer", "_scanned", "_started")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events completed by a chunk.

        Raises
        ------
        EventTooLongError
        """
        pending = self._buffer
        buffer: bytes | bytearray = chunk
        if pending:
            pending += chunk
            buffer = pending
        scan, start = self._scanned, 0
        end_of = _end_of_any if buffer.find(b"\r", scan) >= 0 else _end_of_usual
        events: list[Event] = []
        while (end := end_of(buffer, scan)) > 0:
            events.append(self._event(bytes(buffer[start:end])))
            start = scan = end
        if buffer is pending:
            del pending[:start]
        else:
            pending += buffer[start:]
        # A blank line may be cut anywhere, so the last three bytes are looked at again.
        self._scanned = max(0, len(self._buffer) - 3)
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EventTooLongError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return events

    def flush(self) -> Event | None:
        """Return the last event of a stream that ended without its blank line."""
        rest, self._scanned = bytes(self._buffer), 0
        self._buffer.clear()
        return self._event(rest) if rest.strip() else None

    def _event(self, raw: bytes) -> Event:
        text = raw
        if not self._started:
            self._started = True
            text = raw.removeprefix(b"\xef\xbb\xbf")
        # Nearly every event of an LLM is one `data:` line ended by LF LF.
        if text.startswith(b"data: ") and text.find(b"\n") == len(text) - 2 and b"\r" not in text:
            return Event(raw, b"", text[6:-2])
        return _parse(raw, text)


def _end_of_usual(buffer: bytes | bytearray, start: int) -> int:
    """Return the offset after the first blank line of a stream without CR, or 0."""
    found = buffer.find(b"\n\n", start)
    return found + 2 if found >= 0 else 0


def _end_of_any(buffer: bytes | bytearray, start: int) -> int:
    """Return the offset after the first blank line, or 0."""
    found = _BLANK_LINE.search(buffer, start)
    return found.end() if found is not None else 0


def _parse(raw: bytes, text: bytes) -> Event:
    name, foreign = b"", False
    data: list[bytes] = []
    for line in text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field not in _OTHER_FIELDS:
            foreign = True
            break
    return Event(raw, name, b"\n".join(data) if data else None, foreign)
