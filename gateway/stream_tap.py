"""The tap of a streamed answer: server-sent events, judged one by one."""

from gateway.protocols.coding import READABLE, Inflater
from gateway.protocols.protocol import CONTENT, FAILED, LAST, USAGE_ONLY, AnswerError, Operation
from gateway.sse import MAX_EVENT_BYTES, Event, EventSplitter, EventTooLongError
from gateway.tap import ERROR_BYTES, UNREADABLE, BaseTap
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

_NO_USAGE = b',"usage":null'
"""What every event carries once usage is asked for. Within a string its quotes were escaped."""


class StreamTap(BaseTap):
    """Judges every event; hands on what the client is to see.

    A coded stream (gzip, say) is judged through a bounded look and passes as it came: nothing can
    be hidden in it or added to it.

    Parameters
    ----------
    hide_usage : bool
        The usage event was asked for by the gateway, so the client does not see it.
    max_bytes : int
        A longer answer is cut.
    event_bytes : int
        So is one with a longer event.
    """

    stream = True
    _direct = False
    _told = False
    _whole = False
    _fresh = True
    _fault: UpstreamFault | None = None
    _inflater: Inflater | None = None
    _unread = False

    def __init__(
        self,
        operation: Operation,
        keep_bytes: int,
        *,
        hide_usage: bool = False,
        max_bytes: int = 16_777_216,
        event_bytes: int = MAX_EVENT_BYTES,
        forwards_credentials: bool = False,
    ) -> None:
        super().__init__(operation, keep_bytes, forwards_credentials=forwards_credentials)
        assert operation.events is not None
        self.hide_usage = hide_usage
        self.max_bytes = max_bytes
        self._reader = operation.events()
        self._read_data = self._reader.read_data
        self._splitter = EventSplitter(event_bytes)

    def head(self, status: int, headers: Headers) -> None:
        """Judge the head; an error is read as a plain answer."""
        super().head(status, headers)
        if self.is_client_error:
            self.stream = False
            self.keep_bytes = max(self.keep_bytes, ERROR_BYTES)
        elif not self.content_type.startswith("text/event-stream"):
            raise self._invalid(
                f"a stream was asked for, the answer is `{self.content_type or 'without a type'}`"
            )
        elif self.coding in READABLE:
            self._inflater = Inflater(self.coding, self.max_bytes)
        elif self.coding:
            self._unread = True

    def feed(self, chunk: bytes) -> bool:
        """Read a chunk; True once the client has something to see.

        Raises
        ------
        UpstreamFault
            An event is an error, or not what this protocol sends.
        """
        self._keep(chunk)
        if self._fault is not None:
            raise self._fault
        if self.received_bytes > self.max_bytes:
            raise self._invalid(f"the answer is longer than {self.max_bytes} bytes")
        # Nearly every chunk of an LLM is one event of one `data:` line.
        if (
            self._direct
            and chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n\n")
            and chunk.find(b"\r") < 0
            and not self._splitter.pending
        ):
            self._judge_data(chunk)
        elif self.stream:
            self._read(chunk)
        return self.content_events > 0 or self.done

    def end(self) -> None:
        """Judge a stream whose bytes have ended; add the end mark that a finished one lacks.

        Raises
        ------
        UpstreamFault
            It ended without a finish reason: cut, however clean the end looked.
        """
        if not self.stream or self._unread:
            return
        if self._fault is not None:
            raise self._fault
        last = self._splitter.flush()
        if last is not None and not self._whole:
            self._judge_last(last)
        if self._whole:
            return
        if not self._reader.finished(self.facts):
            raise self._interrupted("the stream ended without a finish reason")
        self._end_well()
        if self._inflater is None:
            self._ready.append(self._reader.closing)

    def last_words(self, message: str, code: str) -> bytes | None:
        """Return the error event, b"" when the upstream sent one; None where none fits."""
        if self.coding:
            return None
        if self._told:
            return b""
        return self.operation.protocol.error_event(message, type_="upstream_error", code=code)

    def _read(self, chunk: bytes) -> None:
        """Judge the events that a chunk completes."""
        if self._unread:
            self._ready.append(chunk)
            self.content_events += 1
            return
        if self.done:
            return
        try:
            text = self._inflater.feed(chunk) if self._inflater is not None else chunk
            events = self._splitter.feed(text)
        except (EventTooLongError, *UNREADABLE) as error:
            raise self._invalid(str(error)) from error
        self._fresh = self.content_events == 0
        for event in events:
            if self._whole or self._fault is not None:
                break
            self._judge(event)
        if self._inflater is not None:
            self._ready.append(chunk)
        else:
            # Only the first event may begin with a byte order mark.
            self._direct = self._direct or bool(events)

    def _judge_last(self, event: Event) -> None:
        """Judge an event whose blank line never came: whole, or a part of one."""
        try:
            # Without the blank line, whatever is sent next would become a part of it.
            self._judge(event._replace(raw=event.raw + b"\n\n"))
        except UpstreamFault as fault:
            if fault.reason is not Reason.UPSTREAM_INVALID:
                raise
            if not self._reader.finished(self.facts):
                raise self._interrupted("the stream ended within an event") from fault

    def _judge(self, event: Event) -> None:
        if event.foreign:
            raise self._invalid("the stream carries lines that are no events")
        try:
            seen = self._reader.read(event, self.facts)
        except AnswerError as error:
            raise self._failed(str(error)) from error
        except UNREADABLE as error:
            raise self._invalid(f"an event is not what the protocol sends: {error}") from error
        self._settle(seen, event.raw)

    def _judge_data(self, raw: bytes) -> None:
        if self.done:
            return
        try:
            seen = self._read_data(raw[6:-2], self.facts)
        except AnswerError as error:
            raise self._failed(str(error)) from error
        except UNREADABLE as error:
            raise self._invalid(f"an event is not what the protocol sends: {error}") from error
        if seen == CONTENT:
            self.content_events += 1
            if self.hide_usage:
                raw = raw.replace(_NO_USAGE, b"", 1)
            self._ready.append(raw)
        else:
            self._fresh = self.content_events == 0
            self._settle(seen, raw)

    def _settle(self, seen: int, raw: bytes) -> None:
        """Show an event, count it, and note what it ends."""
        shown = self._inflater is None and not (self.hide_usage and seen & USAGE_ONLY)
        if seen & FAILED:
            fault = self._failed("the stream carries an error event")
            if not self.content_events:
                raise fault
            # The client is to see a part: the upstream's own words are the best.
            self._told = True
            if shown:
                self._ready.append(raw)
            if not self._fresh:
                raise fault
            # Content came with it and commits: how bytes are cut must not decide who is asked.
            self._fault = fault
            return
        if seen & CONTENT:
            self.content_events += 1
        if shown:
            self._ready.append(raw.replace(_NO_USAGE, b"", 1) if self.hide_usage else raw)
        if seen & LAST:
            self._end_well()

    def _end_well(self) -> None:
        self._whole = True
        # A coded stream has bytes of its own to come.
        self.done = self._inflater is None

    def _interrupted(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.STREAM_INTERRUPTED, status=self.status)
