"""Anthropic's wire protocol: messages, their count of tokens, and batches of them.

Shapes follow anthropic-sdk-python 2.11 (`Message`, `RawMessageStreamEvent`) and what vLLM and
llama-server send in their place.
"""

from typing import Any

import msgspec

from gateway.errors import InvalidRequest, MethodNotAllowed
from gateway.protocols.anthropic_text import AnthropicTexts
from gateway.protocols.facts import NO_FINISH, Facts, count
from gateway.protocols.peeking import decode_peek, need_model
from gateway.protocols.protocol import (
    CONTENT,
    FAILED,
    LAST,
    AnswerError,
    AnswerInvalid,
    Operation,
    Peek,
    Texts,
)
from gateway.sse import Event

PATH = "/v1/messages"

_NOT_GIVEN = msgspec.Raw()
_TYPES = {
    "authentication_error": "authentication_error",
    "upstream_error": "api_error",
    "server_error": "overloaded_error",
    "not_found": "not_found_error",
    "model_not_found": "not_found_error",
    "request_too_large": "request_too_large",
    "request_timeout": "timeout_error",
    "upstream_timeout": "timeout_error",
    "stream_timeout": "timeout_error",
    "upstream_limited": "rate_limit_error",
    "upstream_busy": "rate_limit_error",
    "no_upstream": "overloaded_error",
    "overloaded": "overloaded_error",
    "log_unavailable": "api_error",
}
"""Anthropic's word for OpenAI's `code`, else for its `type`."""


class _Peek(Peek, gc=False):
    messages: msgspec.Raw = _NOT_GIVEN
    metadata: msgspec.Raw = _NOT_GIVEN


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None

    def note(self, facts: Facts) -> None:
        """Keep what is said; `input_tokens` leaves out what was cached, the record does not."""
        # vLLM says 0 at the start of a stream, and how many there were at its end.
        read, written = count(self.cache_read_input_tokens), count(self.cache_creation_input_tokens)
        given = count(self.input_tokens)
        if given is not None and (not facts.prompt_tokens or read is not None):
            facts.prompt_tokens = count(given + (read or 0) + (written or 0))
        if read is not None:
            facts.cached_tokens = read
        said = count(self.output_tokens)
        if said is not None:
            facts.response_tokens = said


class _Block(msgspec.Struct, gc=False):
    type: Any = None


class _Message(msgspec.Struct, gc=False):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    model: str | None = None
    type: str | None = None
    error: Any = None
    input_tokens: Any = None


class _Delta(msgspec.Struct, gc=False):
    stop_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_peek = msgspec.json.Decoder(_Peek).decode
_metadata = msgspec.json.Decoder(_Metadata).decode
_message = msgspec.json.Decoder(_Message).decode
_event = msgspec.json.Decoder(_Event).decode


def peek(body: bytes) -> Peek:
    """Read what routing needs of a request for messages.

    Raises
    ------
    InvalidRequest
    """
    found = need_model(decode_peek(body, _peek))
    messages = bytes(found.messages)
    if messages and messages[:1] != b"[":
        raise InvalidRequest("`messages` must be an array of messages.", param="messages")
    if bytes(found.metadata)[:1] == b"{":
        try:
            found.user = _metadata(found.metadata).user_id
        except msgspec.ValidationError as error:
            raise InvalidRequest(
                "`metadata.user_id` must be a string.", param="metadata.user_id"
            ) from error
    return found


def read_message(body: bytes, facts: Facts) -> None:
    """Judge a plain answer of `/messages`."""
    answer = _checked(body)
    if answer.content is None:
        raise AnswerInvalid("the answer carries no `content`")
    facts.model_answered, facts.finish_reason = answer.model, answer.stop_reason
    facts.tool_calls = sum(block.type == "tool_use" for block in answer.content)
    if answer.usage is not None:
        answer.usage.note(facts)


def read_count(body: bytes, facts: Facts) -> None:
    """Judge an answer of `/messages/count_tokens`."""
    answer = _checked(body)
    facts.prompt_tokens = count(answer.input_tokens)
    if facts.prompt_tokens is None:
        raise AnswerInvalid("the answer carries no `input_tokens`")


def _checked(body: bytes) -> _Message:
    answer = _message(body)
    if answer.type == "error" or answer.error is not None:
        raise AnswerError("the upstream answered 200 with an error")
    return answer


class MessageEvents:
    """Reads the stream of a message, from `message_start` to `message_stop`."""

    __slots__ = ()

    closing = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    def read(self, event: Event, facts: Facts) -> int:
        """Judge an event of any form."""
        if event.data is None:
            if event.name == b"error":
                raise AnswerError("the stream carries an error event")
            return 0
        return self.read_data(event.data, facts)

    def read_data(self, data: bytes, facts: Facts) -> int:
        """Judge an event's data."""
        event = _event(data)
        kind = event.type
        if kind == "content_block_delta":
            return CONTENT
        if kind == "message_stop":
            # Imitations may stop without a reason; the stop itself is the protocol's last word.
            if facts.finish_reason is None:
                facts.finish_reason = NO_FINISH
            return CONTENT | LAST
        if kind == "error" or event.error is not None:
            return FAILED
        if kind is None:
            raise AnswerInvalid("an event says no `type`")
        return self._note(event, facts)

    def finished(self, facts: Facts) -> bool:
        """Say whether a stop reason was read."""
        return facts.finish_reason is not None

    def _note(self, event: _Event, facts: Facts) -> int:
        """Note what frames the content."""
        if event.message is not None:
            if event.message.model:
                facts.model_answered = event.message.model
            facts.tool_calls = 0
            if event.message.usage is not None:
                event.message.usage.note(facts)
        if event.usage is not None:
            event.usage.note(facts)
        if event.content_block is not None and event.content_block.type == "tool_use":
            facts.tool_calls = (facts.tool_calls or 0) + 1
            return CONTENT
        if event.delta is not None and event.delta.stop_reason:
            facts.finish_reason = event.delta.stop_reason
            return CONTENT
        return 0


class Anthropic:
    """The paths below `/v1/messages`.

    Attributes
    ----------
    asked : dict of str to Operation
        What is asked by POST, by its path.
    """

    name = "anthropic"

    def __init__(self) -> None:
        self.texts: Texts = AnthropicTexts()
        messages = Operation(
            name="messages",
            protocol=self,
            body="json",
            model_in="body",
            model_required=True,
            cacheable=True,
            peek=peek,
            answer=read_message,
            events=MessageEvents,
            strict=True,
        )
        counting = Operation(
            name="count_tokens",
            protocol=self,
            body="json",
            model_in="body",
            model_required=True,
            peek=peek,
            answer=read_count,
            strict=True,
        )
        self.asked = {PATH: messages, PATH + "/count_tokens": counting}
        self._batches = Operation(
            "message_batches", self, stateful=True, repeatable=False, keeps=True
        )

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a path below `/v1/messages`."""
        if not path.startswith(PATH):
            return None
        asked = self.asked.get(path)
        if asked is not None:
            if method != "POST":
                raise MethodNotAllowed(f"`{path}` takes POST, not {method}.")
            return asked
        below = path[len(PATH) :]
        return self._batches if below == "/batches" or below.startswith("/batches/") else None

    def is_error(self, body: bytes) -> bool:
        """Say whether a body is ``{"type": "error", "error": {"type", "message"}}``."""
        try:
            data = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        error = data.get("error") if isinstance(data, dict) else None
        sound = isinstance(error, dict) and isinstance(error.get("message"), str)
        return sound and data.get("type") == "error"

    def error_body(self, message: str, *, type_: str, code: str | None, param: str | None) -> bytes:
        """Return an error as Anthropic writes it; `param` has no place in it."""
        kind = _TYPES.get(code or "") or _TYPES.get(type_, "invalid_request_error")
        if param is not None and f"`{param}`" not in message:
            message = f"{param}: {message}"
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})

    def error_event(self, message: str, *, type_: str, code: str) -> bytes:
        """Return the `error` event, by name: clients skip events without one."""
        body = self.error_body(message, type_=type_, code=code, param=None)
        return b"event: error\ndata: " + body + b"\n\n"
