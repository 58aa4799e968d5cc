"""The tap of a streamed answer: server-sent events of chat and completions."""

from dataclasses import dataclass, field

import msgspec

from gateway.protocols import openai
from gateway.sse import Event, EventSplitter, EventTooLongError
from gateway.tap import ERROR_BYTES, BaseTap
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

DONE = b"data: [DONE]\n\n"
NO_FINISH = "missing"


@dataclass(slots=True)
class StreamTap(BaseTap):
    """Judges every event; hands on what the client is to see.

    Attributes
    ----------
    hide_usage : bool
        The usage event was asked for by the gateway, so the client does not see it.
    max_bytes : int
        A longer answer is cut.
    """

    stream: bool = True
    hide_usage: bool = False
    max_bytes: int = 16_777_216
    _splitter: EventSplitter = field(default_factory=EventSplitter)

    def head(self, status: int, headers: Headers) -> None:
        """Judge the head; an error is read as a plain answer."""
        BaseTap.head(self, status, headers)
        if self.is_client_error:
            self.stream = False
            self.keep_bytes = max(self.keep_bytes, ERROR_BYTES)
        elif not self.content_type.startswith("text/event-stream"):
            raise self._invalid(
                f"a stream was asked for, the answer is `{self.content_type or 'without a type'}`"
            )

    def feed(self, chunk: bytes) -> bool:
        """Read a chunk; True once the client has something to see.

        Raises
        ------
        UpstreamFault
            An event is an error, or not what this protocol sends.
        """
        self._keep(chunk)
        if not self.stream:
            return False
        if self.received_bytes > self.max_bytes:
            raise self._invalid(f"the answer is longer than {self.max_bytes} bytes")
        try:
            events = self._splitter.feed(chunk)
        except EventTooLongError as error:
            raise self._invalid(str(error)) from error
        for event in events:
            if self.done:
                break
            self._judge(event)
        return self.content_events > 0 or self.done

    def end(self) -> None:
        """Judge a stream whose bytes have ended; add the `[DONE]` that a finished one lacks.

        Raises
        ------
        UpstreamFault
            It ended without a finish reason: cut, however clean the end looked.
        """
        if not self.stream:
            return
        last = self._splitter.flush()
        if last is not None and not self.done:
            self._judge_last(last)
        if self.done:
            return
        if self.facts.finish_reason is None:
            raise self._interrupted("the stream ended without a finish reason")
        self.done = True
        self._ready.append(DONE)

    def _judge_last(self, event: Event) -> None:
        """Judge an event whose blank line never came: whole, or a part of one."""
        try:
            # Without the blank line, whatever is sent next would become a part of it.
            self._judge(event._replace(raw=event.raw + b"\n\n"))
        except UpstreamFault as fault:
            if fault.reason is not Reason.UPSTREAM_INVALID:
                raise
            if self.facts.finish_reason is None:
                raise self._interrupted("the stream ended within an event") from fault

    def _judge(self, event: Event) -> None:
        data = event.data
        if event.foreign:
            raise self._invalid("the stream carries lines that are no events")
        if event.name == b"error":
            raise self._error("the stream carries an error event")
        if data is None:
            self._ready.append(event.raw)
            return
        if data.lstrip().startswith(b"[DONE]"):
            self._end_well(event)
            return
        try:
            chunk = openai.read_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._invalid(f"an event is not what the protocol sends: {error}") from error
        self._read(chunk, event)

    def _end_well(self, event: Event) -> None:
        """Take `[DONE]`; alone it is no success."""
        if not self.content_events:
            raise self._invalid("the stream ended without any content")
        if self.facts.finish_reason is None:
            self.facts.finish_reason = NO_FINISH
        self.done = True
        self._ready.append(event.raw)

    def _read(self, chunk: openai.Chunk, event: Event) -> None:
        if openai.is_given(chunk.error) or chunk.object == "error":
            raise self._error("the stream carries an error")
        if chunk.choices is None and chunk.usage is None:
            raise self._invalid("an event carries neither `choices` nor `usage`")
        facts = self.facts
        facts.take_usage(chunk.usage)
        if chunk.model:
            facts.model_answered = chunk.model
        if chunk.system_fingerprint:
            facts.version = chunk.system_fingerprint
        for choice in chunk.choices or ():
            if choice.finish_reason:
                facts.finish_reason = choice.finish_reason
                self.content_events += 1
            elif choice.text or (choice.delta is not None and choice.delta.has_content()):
                self.content_events += 1
        if not (self.hide_usage and not chunk.choices and chunk.usage is not None):
            self._ready.append(event.raw)

    def _interrupted(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.STREAM_INTERRUPTED, status=self.status)

    def _error(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.UPSTREAM_ERROR, status=self.status)
