"""OpenAI's wire protocol: where the model name stands, what an answer and its end look like.

Shapes follow openai-openapi (chat, completions, embeddings, models) and what vLLM, llama-server
and SGLang send in their place.
"""

from typing import Any

import msgspec

from gateway.errors import InvalidRequest

OPERATIONS = {
    "/chat/completions": "chat",
    "/completions": "completion",
    "/embeddings": "embedding",
}
"""Paths below /v1 whose body names a model and whose answer is read for the record."""

CACHEABLE = frozenset(OPERATIONS.values())

MAX_MODEL_CHARS = 512  # it is recorded, and repeated in messages

_ABSENT = msgspec.Raw()


class StreamOptions(msgspec.Struct):
    """`stream_options` of a request."""

    include_usage: bool = False


class Peek(msgspec.Struct):
    """What routing needs of a request body; everything else is skipped, syntax is checked."""

    model: str = ""
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    stream_options: StreamOptions | None = None


class TokenDetails(msgspec.Struct):
    """`prompt_tokens_details` or `completion_tokens_details`."""

    cached_tokens: Any = None
    reasoning_tokens: Any = None


class Usage(msgspec.Struct):
    """`usage` of an answer; numbers as they come, an odd one does not spoil a sound answer."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None


class Delta(msgspec.Struct):
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


class ChunkChoice(msgspec.Struct):
    """`choices[]` of a chunk: chat carries a delta, completions a text."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """One event of a stream."""

    choices: list[ChunkChoice] | None = None
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    error: msgspec.Raw = _ABSENT
    object: str | None = None


class AnswerChoice(msgspec.Struct):
    """`choices[]` of a plain answer."""

    finish_reason: str | None = None


class Answer(msgspec.Struct):
    """A plain answer of any operation here."""

    choices: list[AnswerChoice] | None = None
    data: msgspec.Raw = _ABSENT
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    error: msgspec.Raw = _ABSENT
    object: str | None = None


_peek = msgspec.json.Decoder(Peek).decode
_chunk = msgspec.json.Decoder(Chunk).decode
_answer = msgspec.json.Decoder(Answer).decode


def peek(body: bytes) -> Peek:
    """Read what routing needs of a JSON body.

    Raises
    ------
    InvalidRequest
        It is not a JSON object, names no model, or a field has the wrong type.
    """
    try:
        found = _peek(body)
    except msgspec.ValidationError as error:
        text = str(error)
        raise InvalidRequest(f"The request body is wrong: {text}", param=_param(text)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from error
    if not found.model:
        raise InvalidRequest("You must provide a `model` parameter.", param="model")
    if len(found.model) > MAX_MODEL_CHARS:
        raise InvalidRequest(f"`model` is longer than {MAX_MODEL_CHARS} characters.", param="model")
    return found


def _param(message: str) -> str | None:
    """Return `model` of msgspec's "... - at `$.model`"."""
    _, found, path = message.rpartition("at `$.")
    return path.rstrip("`") if found else None


def read_chunk(data: bytes) -> Chunk:
    """Decode one event's data; raises msgspec.DecodeError."""
    return _chunk(data)


def read_answer(body: bytes) -> Answer:
    """Decode a plain answer; raises msgspec.DecodeError."""
    return _answer(body)


def is_given(raw: msgspec.Raw) -> bool:
    """Say whether a field that is not decoded is there and not null."""
    return bytes(raw) not in {b"", b"null"}


def is_complete(operation: str, answer: Answer) -> bool:
    """Say whether a plain answer has what its operation must have."""
    if operation == "embedding":
        return is_given(answer.data)
    return bool(answer.choices)


def is_error_object(body: bytes) -> bool:
    """Say whether a body is ``{"error": {"message": str, ...}}``, as clients expect it."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    error = data.get("error") if isinstance(data, dict) else None
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def models_body(names: list[str], created: int) -> bytes:
    """Return the answer of GET /v1/models."""
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": "driftgate"}
        for name in names
    ]
    return msgspec.json.encode({"object": "list", "data": data})
