"""Cuts a byte stream into server-sent events (WHATWG HTML §9.2) without changing a byte."""

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 1_048_576
"""The usual bound of an event."""
_OTHER_FIELDS = frozenset({b"", b"id", b"retry"})  # b"": a blank line, or a comment
# A lone CR after LF could be the first half of CRLF, so it needs the byte behind it.
_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\n\r(?=[^\n])|\r\r")


class EventTooLongError(ValueError):
    """An event grew past its bound."""


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
    """Collects chunks and returns the events they complete; linear in the bytes fed.

    Attributes
    ----------
    pending : bytearray
        The event that is not complete yet.
    """

    __slots__ = ("_max_bytes", "_scanned", "_started", "pending")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self.pending = bytearray()
        self._max_bytes = max_bytes
        self._scanned = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events completed by a chunk.

        Raises
        ------
        EventTooLongError
        """
        pending = self.pending
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
        self._scanned = max(0, len(self.pending) - 3)
        if len(self.pending) > self._max_bytes:
            raise EventTooLongError(f"an event is longer than {self._max_bytes} bytes")
        return events

    def flush(self) -> Event | None:
        """Return the last event of a stream that ended without its blank line."""
        rest, self._scanned = bytes(self.pending), 0
        self.pending.clear()
        return self._event(rest) if rest.strip() else None

    def _event(self, raw: bytes) -> Event:
        text = raw
        if not self._started:
            self._started = True
            text = raw.removeprefix(b"\xef\xbb\xbf")
        # Nearly every event of an LLM is one `data:` line ended by LF LF, many with a name before.
        name, start = b"", 0
        if text.startswith(b"event: "):
            start = text.find(b"\n") + 1
            name = text[7 : start - 1]
        if (
            text.startswith(b"data: ", start)
            and text.find(b"\n", start) == len(text) - 2
            and text.find(b"\r") < 0
        ):
            return Event(raw, name, text[start + 6 : -2])
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
