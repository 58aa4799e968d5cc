"""OpenAI's chat, completions and embeddings: requests, answers, and the events of a stream.

Shapes follow openai-openapi (chat, completions, embeddings) and what vLLM, llama-server and
SGLang send in their place. `gateway.protocols.openai_paths` says which path is which.
"""

from typing import Any

import msgspec

from gateway.errors import InvalidRequest
from gateway.protocols.facts import NO_FINISH, Facts, count
from gateway.protocols.peeking import decode_peek, need_model
from gateway.protocols.protocol import (
    CONTENT,
    LAST,
    USAGE_ONLY,
    AnswerError,
    AnswerInvalid,
    Peek,
)
from gateway.sse import Event

DONE = b"data: [DONE]\n\n"

_NOT_GIVEN = msgspec.Raw()
_MAX_CHOICES = 1_000  # of a stream, that are told apart


class OpenAIPeek(Peek, gc=False):
    """What routing needs of a request body; everything else is skipped, syntax is checked."""

    messages: msgspec.Raw = _NOT_GIVEN


class TokenDetails(msgspec.Struct, gc=False):
    """`prompt_tokens_details` or `completion_tokens_details`."""

    cached_tokens: Any = None
    reasoning_tokens: Any = None


class Usage(msgspec.Struct, gc=False):
    """`usage` of an answer; numbers as they come, an odd one does not spoil a sound answer."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None

    def note(self, facts: Facts) -> None:
        """Keep the newest usage; servers that count along send it in every event."""
        facts.prompt_tokens = count(self.prompt_tokens)
        facts.response_tokens = count(self.completion_tokens)
        if self.prompt_tokens_details is not None:
            facts.cached_tokens = count(self.prompt_tokens_details.cached_tokens)
        if self.completion_tokens_details is not None:
            facts.reasoning_tokens = count(self.completion_tokens_details.reasoning_tokens)


class Delta(msgspec.Struct, gc=False):
    """`choices[].delta` of a chunk."""

    content: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    audio: Any = None

    def has_content(self) -> bool:
        """Say whether it shows the client anything (a role alone does not)."""
        return bool(
            self.content
            or self.tool_calls
            or self.refusal
            or self.reasoning
            or self.reasoning_content
            or self.function_call
            or self.audio
        )


class ChunkChoice(msgspec.Struct, gc=False):
    """`choices[]` of a chunk: chat carries a delta, completions a text."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    index: Any = 0


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream."""

    choices: list[ChunkChoice] | None = None
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    error: Any = None
    object: str | None = None


class AnswerMessage(msgspec.Struct, gc=False):
    """`choices[].message` of a plain answer."""

    tool_calls: Any = None


class AnswerChoice(msgspec.Struct, gc=False):
    """`choices[]` of a plain answer."""

    finish_reason: str | None = None
    message: AnswerMessage | None = None


class Answer(msgspec.Struct, gc=False):
    """A plain answer of any operation here."""

    choices: list[AnswerChoice] | None = None
    data: msgspec.Raw = _NOT_GIVEN
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    error: Any = None
    object: str | None = None


_peek = msgspec.json.Decoder(OpenAIPeek).decode
_chunk = msgspec.json.Decoder(Chunk).decode
_answer = msgspec.json.Decoder(Answer).decode


def peek(body: bytes) -> Peek:
    """Read what routing needs of a JSON body whose operation takes a model.

    Raises
    ------
    InvalidRequest
        It is not a sound JSON object, names no model, or a field has the wrong type.
    """
    return need_model(peek_lax(body))


def peek_lax(body: bytes) -> Peek:
    """Read what routing needs of a JSON body whose operation can do without a model."""
    found = decode_peek(body, _peek)
    messages = found.messages
    if messages is not _NOT_GIVEN and bytes(messages)[:1] not in {b"[", b"n"}:
        raise InvalidRequest("`messages` must be an array of messages.", param="messages")
    return found


def model_of(body: bytes) -> str:
    """Return the model that a body which was peeked at before names now."""
    return _peek(body).model


def read_chat(body: bytes, facts: Facts) -> None:
    """Judge a plain answer of chat or completions."""
    answer = _checked(body)
    if not answer.choices:
        raise AnswerInvalid("the answer carries no `choices`")
    first = answer.choices[0]
    facts.finish_reason = first.finish_reason
    facts.tool_calls = sum(_calls_of(choice) for choice in answer.choices)
    _note(answer, facts)


def _calls_of(choice: AnswerChoice) -> int:
    calls = choice.message.tool_calls if choice.message is not None else None
    return len(calls) if isinstance(calls, list) else 0


def read_embedding(body: bytes, facts: Facts) -> None:
    """Judge a plain answer of embeddings."""
    answer = _checked(body)
    if not is_given(answer.data):
        raise AnswerInvalid("the answer carries no `data`")
    _note(answer, facts)


def _checked(body: bytes) -> Answer:
    answer = _answer(body)
    if answer.error is not None or answer.object == "error":
        raise AnswerError("the upstream answered 200 with an error")
    return answer


def _note(answer: Answer, facts: Facts) -> None:
    facts.model_answered, facts.version = answer.model, answer.system_fingerprint
    if answer.usage is not None:
        answer.usage.note(facts)


class ChatEvents:
    """Reads the stream of chat or completions: chunks, then `[DONE]`."""

    __slots__ = ("_begun", "_calls", "_ended", "_has_content", "_last")

    closing = DONE

    def __init__(self) -> None:
        self._calls: set[tuple[Any, Any]] = set()
        self._has_content = False
        self._last: Any = None
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def read(self, event: Event, facts: Facts) -> int:
        """Judge an event of any form."""
        if event.name == b"error":
            raise AnswerError("the stream carries an error event")
        return self.read_data(event.data, facts) if event.data is not None else 0

    def read_data(self, data: bytes, facts: Facts) -> int:
        """Judge a chunk, or `[DONE]`."""
        try:
            chunk = _chunk(data)
        except msgspec.DecodeError:
            if data.lstrip().startswith(b"[DONE]"):
                return self._done(facts)
            raise
        if chunk.error is not None or chunk.object == "error":
            raise AnswerError("the stream carries an error")
        if chunk.usage is not None:
            chunk.usage.note(facts)
        elif chunk.choices is None:
            raise AnswerInvalid("an event carries neither `choices` nor `usage`")
        if chunk.model:
            facts.model_answered = chunk.model
        if chunk.system_fingerprint:
            facts.version = chunk.system_fingerprint
        if not chunk.choices:
            return USAGE_ONLY if chunk.usage is not None else 0
        return self._choices(chunk.choices, facts)

    def finished(self, facts: Facts) -> bool:
        """Say whether a finish reason was read of every choice that was begun."""
        return facts.finish_reason is not None and self._begun <= self._ended

    def _choices(self, choices: list[ChunkChoice], facts: Facts) -> int:
        seen = 0
        for choice in choices:
            if choice.index != self._last:
                self._begin(choice.index)
            delta = choice.delta
            if delta is not None:
                if delta.tool_calls:
                    self._count_calls(choice.index, delta.tool_calls, facts)
                if delta.content or delta.has_content():
                    seen = CONTENT
            elif choice.text:
                seen = CONTENT
            if choice.finish_reason:
                self._end(choice, facts)
                seen = CONTENT
        if seen:
            self._has_content = True
        return seen

    def _begin(self, index: Any) -> None:
        """Note which choice goes on; nearly always it is the one of the event before."""
        self._last = index
        if type(index) is int and len(self._begun) < _MAX_CHOICES:
            self._begun.add(index)

    def _end(self, choice: ChunkChoice, facts: Facts) -> None:
        """Note how a choice ended; the first one's reason is the record's."""
        if type(choice.index) is int:
            self._ended.add(choice.index)
        if facts.tool_calls is None:
            facts.tool_calls = 0
        if choice.index == 0 or facts.finish_reason is None:
            facts.finish_reason = choice.finish_reason

    def _count_calls(self, choice: Any, calls: Any, facts: Facts) -> None:
        """Count the tool calls begun so far; each comes in pieces of one index."""
        for call in calls if isinstance(calls, list) else ():
            place = call.get("index", 0) if isinstance(call, dict) else None
            if type(place) is int and type(choice) is int and len(self._calls) < 1000:
                self._calls.add((choice, place))
        facts.tool_calls = len(self._calls)

    def _done(self, facts: Facts) -> int:
        """Take `[DONE]`; alone it is no success."""
        if not self._has_content:
            raise AnswerInvalid("the stream ended without any content")
        if facts.finish_reason is None:
            facts.finish_reason = NO_FINISH
        return LAST


def is_given(raw: msgspec.Raw) -> bool:
    """Say whether a field that is not decoded is there and not null."""
    return bytes(raw) not in {b"", b"null"}


def is_error_object(body: bytes) -> bool:
    """Say whether a body is ``{"error": {"message": str, ...}}``, as clients expect it."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    error = data.get("error") if isinstance(data, dict) else None
    return isinstance(error, dict) and isinstance(error.get("message"), str)
