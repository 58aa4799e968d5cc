"""Cuts a byte stream into server-sent events (WHATWG HTML §9.2) without changing a byte."""

from typing import NamedTuple

MAX_EVENT_BYTES = 1_048_576
_OTHER_FIELDS = frozenset({b"", b"id", b"retry"})  # b"": a blank line, or a comment


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
        self._buffer = b""
        self._scanned = 0
        self._started = False

    @property
    def rest(self) -> bytes:
        """Return what has arrived of an event that is not complete."""
        return self._buffer

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events completed by a chunk.

        Raises
        ------
        EventTooLongError
        """
        buffer = self._buffer + chunk if self._buffer else chunk
        events: list[Event] = []
        start = 0
        scan = self._scanned
        while (end := _event_end(buffer, max(start, scan))) > 0:
            events.append(self._event(buffer[start:end]))
            start = scan = end
        self._buffer = buffer[start:] if start else buffer
        # A blank line may be cut anywhere, so the last three bytes are looked at again.
        self._scanned = max(0, len(self._buffer) - 3)
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EventTooLongError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return events

    def flush(self) -> Event | None:
        """Return the last event of a stream that ended without its blank line."""
        rest, self._buffer, self._scanned = self._buffer, b"", 0
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


def _event_end(buffer: bytes, start: int) -> int:
    """Return the offset after the first blank line at or after `start`, or -1."""
    if b"\r" not in buffer:
        found = buffer.find(b"\n\n", start)
        return found + 2 if found >= 0 else -1
    best = -1
    for mark in (b"\n\n", b"\n\r\n", b"\r\n\r\n", b"\r\r"):
        found = buffer.find(mark, start, best + len(mark) if best >= 0 else len(buffer))
        if found >= 0 and (best < 0 or found + len(mark) < best):
            best = found + len(mark)
    return best


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
    return Event(raw, name, b"\n".join(data) if data else None, foreign)
