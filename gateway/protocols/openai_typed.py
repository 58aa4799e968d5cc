"""OpenAI's newer operations: answers and events that say their type, and count inputs and outputs.

Responses, images, speech and transcription: every event is an object with a `type`; one of them is
the last, and there is no `[DONE]`.
"""

from typing import Any

import msgspec

from gateway.protocols.facts import Facts, count
from gateway.protocols.openai import ChatEvents
from gateway.protocols.peeking import decode_peek
from gateway.protocols.protocol import CONTENT, FAILED, LAST, AnswerError, AnswerInvalid, Peek
from gateway.sse import Event

_PREPARING = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "keepalive",
    }
)
"""Events that show nothing of an answer: they must not end the wait for one."""

_LAST = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "response.cancelled",
        "image_generation.completed",
        "image_edit.completed",
        "speech.audio.done",
        "transcript.text.done",
    }
)
_FAILED = frozenset({"response.failed", "error"})


class ResponsesPeek(Peek, gc=False):
    """What routing needs of a request to `/responses`."""

    previous_response_id: str | None = None
    conversation: Any = None
    background: Any = None

    @property
    def refers(self) -> bool:
        """Say whether one upstream keeps what this goes on from, or is to keep the work."""
        return bool(self.previous_response_id or self.conversation or self.background)

    @property
    def reference(self) -> str:
        """Return the response, or the conversation, that this goes on from."""
        if self.previous_response_id:
            return self.previous_response_id
        found = self.conversation
        name = found.get("id") if isinstance(found, dict) else found
        return name if isinstance(name, str) else ""


class _TokenDetails(msgspec.Struct, gc=False):
    cached_tokens: Any = None
    reasoning_tokens: Any = None


class TypedUsage(msgspec.Struct, gc=False):
    """`usage` in the newer words; the older ones are taken, too."""

    input_tokens: Any = None
    output_tokens: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    input_tokens_details: _TokenDetails | None = None
    output_tokens_details: _TokenDetails | None = None

    def note(self, facts: Facts) -> None:
        """Keep what is known."""
        given = self.input_tokens if self.input_tokens is not None else self.prompt_tokens
        said = self.output_tokens if self.output_tokens is not None else self.completion_tokens
        facts.prompt_tokens, facts.response_tokens = count(given), count(said)
        if self.input_tokens_details is not None:
            facts.cached_tokens = count(self.input_tokens_details.cached_tokens)
        if self.output_tokens_details is not None:
            facts.reasoning_tokens = count(self.output_tokens_details.reasoning_tokens)


class _Item(msgspec.Struct, gc=False):
    type: Any = None


class _Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class Response(msgspec.Struct, gc=False):
    """A response object: whole as a plain answer, or within an event."""

    id: Any = None
    output: list[_Item] | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    usage: TypedUsage | None = None
    model: str | None = None
    error: Any = None
    object: str | None = None

    def note(self, facts: Facts) -> None:
        """Keep its facts; `status` stands for the finish reason it has none of."""
        if isinstance(self.id, str):
            facts.object_id = self.id
        if self.model:
            facts.model_answered = self.model
        if self.usage is not None:
            self.usage.note(facts)
        if self.status in {"completed", "incomplete", "cancelled"}:
            why = self.incomplete_details
            facts.finish_reason = (why.reason if why is not None else None) or self.status
        if self.output:
            # Calls of functions, of hosted tools and of custom ones all end so.
            items = (item.type for item in self.output)
            facts.tool_calls = sum(str(kind).endswith("_call") for kind in items)


class _TypedEvent(msgspec.Struct, gc=False):
    type: str | None = None
    delta: Any = None
    response: Response | None = None
    usage: TypedUsage | None = None
    choices: msgspec.Raw = msgspec.Raw()


class _Typed(msgspec.Struct, gc=False):
    usage: Any = None
    model: Any = None
    error: Any = None
    object: Any = None


_peek = msgspec.json.Decoder(ResponsesPeek).decode
_response = msgspec.json.Decoder(Response).decode
_event = msgspec.json.Decoder(_TypedEvent).decode
_any = msgspec.json.Decoder(_Typed | list[msgspec.Raw]).decode
_usage = msgspec.json.Decoder(TypedUsage).decode


def peek_response(body: bytes) -> Peek:
    """Read what routing needs of a request to `/responses`; a stored prompt may name the model."""
    return decode_peek(body, _peek)


def read_response(body: bytes, facts: Facts) -> None:
    """Judge a plain answer of `/responses`."""
    answer = _response(body)
    if answer.error is not None or answer.object == "error" or answer.status == "failed":
        raise AnswerError("the upstream answered 200 with an error")
    if answer.output is None and answer.status is None:
        raise AnswerInvalid("the answer carries neither `output` nor `status`")
    answer.note(facts)


def read_token_count(body: bytes, facts: Facts) -> None:
    """Take the count from an answer of `/responses/input_tokens`."""
    _usage(body).note(facts)


def read_object(body: bytes, facts: Facts) -> None:
    """Judge an answer of which only its being JSON, errors and usage are known."""
    answer = _any(body)
    if isinstance(answer, list):
        return
    if answer.error is not None or answer.object == "error":
        raise AnswerError("the upstream answered 200 with an error")
    if isinstance(answer.model, str):
        facts.model_answered = answer.model
    if isinstance(answer.usage, dict):
        msgspec.convert(answer.usage, TypedUsage).note(facts)


class TypedEvents:
    """Reads a stream of typed events; servers that send chunks in their place are read, too."""

    __slots__ = ("_chat",)

    closing = b""

    def __init__(self) -> None:
        self._chat: ChatEvents | None = None

    def read(self, event: Event, facts: Facts) -> int:
        """Judge an event of any form."""
        if event.data is None:
            if event.name == b"error":
                raise AnswerError("the stream carries an error event")
            return 0
        return self.read_data(event.data, facts)

    def read_data(self, data: bytes, facts: Facts) -> int:
        """Judge an event's data."""
        if self._chat is not None:
            return self._chat.read_data(data, facts)
        event = _event(data)
        kind = event.type
        if kind is None:
            return self._untyped(event, data, facts)
        if event.response is not None:
            event.response.note(facts)
        if event.usage is not None:
            event.usage.note(facts)
        if kind in _LAST:
            if facts.finish_reason is None:
                facts.finish_reason = "completed"
            return CONTENT | LAST
        if kind in _FAILED:
            return FAILED
        if kind in _PREPARING or event.delta == "":
            return 0
        return CONTENT

    def finished(self, facts: Facts) -> bool:
        """Say whether a stream of chunks ended; a typed one always says so."""
        return self._chat is not None and self._chat.finished(facts)

    def _untyped(self, event: _TypedEvent, data: bytes, facts: Facts) -> int:
        """Read a chunk, as vLLM streams a transcription."""
        if not bytes(event.choices):
            raise AnswerInvalid("an event says no `type`")
        self._chat = ChatEvents()
        return self._chat.read_data(data, facts)
