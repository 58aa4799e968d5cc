"""The tap of a streamed answer: server-sent events of chat and completions."""

from dataclasses import dataclass, field

import msgspec

from gateway.protocols import openai
from gateway.sse import Event, EventSplitter, EventTooLongError
from gateway.tap import BaseTap
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class StreamTap(BaseTap):
    """Judges every event; hands on what the client is to see.

    Attributes
    ----------
    hide_usage : bool
        The usage event was asked for by the gateway, so the client does not see it.
    """

    stream: bool = True
    hide_usage: bool = False
    _splitter: EventSplitter = field(default_factory=EventSplitter)

    def head(self, status: int, headers: Headers) -> None:
        """Judge the head; an error is read as a plain answer."""
        BaseTap.head(self, status, headers)
        if self.is_client_error:
            self.stream = False
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
            self._judge(last)
        if self.done:
            return
        if self.facts.finish_reason is None:
            raise UpstreamFault(
                "the stream ended without a finish reason",
                reason=Reason.STREAM_INTERRUPTED,
                status=self.status,
            )
        self.done = True
        self._ready.append(DONE)

    def _judge(self, event: Event) -> None:
        data = event.data
        if event.foreign:
            raise self._invalid("the stream carries lines that are no events")
        if data is None:
            self._ready.append(event.raw)
            return
        if data.lstrip().startswith(b"[DONE]"):
            self.done = True
            self._ready.append(event.raw)
            return
        if event.name == b"error":
            raise self._error("the stream carries an error event")
        try:
            chunk = openai.read_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._invalid(f"an event is not what the protocol sends: {error}") from error
        self._read(chunk, event)

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

    def _error(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.UPSTREAM_ERROR, status=self.status)
