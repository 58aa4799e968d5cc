"""The words of a recorded request and answer, read at ingest, far from the hot path."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.protocols.json_text import (
    decoded_events,
    event_objects,
    first_of,
    json_object,
    object_of,
    texts,
)

_TEXT_DELTAS = frozenset({"response.output_text.delta", "transcript.text.delta"})


class _Said(msgspec.Struct):
    content: str


class _Asked(msgspec.Struct):
    messages: list[_Said]


class _Choice(msgspec.Struct):
    message: _Said


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    output: Raw | UnsetType = UNSET


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None


class _StreamChoice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_StreamChoice] = []
    type: Raw | UnsetType = UNSET


# Most bodies are of these shapes, and of the rest of them nothing is then decoded.
_ASKED = msgspec.json.Decoder(_Asked)
_ANSWER = msgspec.json.Decoder(_Answer)
_CHUNK = msgspec.json.Decoder(_Chunk)


def prompt_text(request: bytes) -> str | None:
    """Return what the client asked: every text of `messages`, `prompt` or `input`, in order.

    None when the body is cut or not JSON: a part of a prompt is not a prompt.
    """
    try:
        return "\n".join([message.content for message in _ASKED.decode(request).messages])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = json_object(request)
    if data is None:
        return None
    if "messages" in data:
        return "\n".join(texts(data["messages"]))
    instructions = data.get("instructions")
    asked = data.get("prompt", data.get("input"))
    return "\n".join(texts([instructions, asked] if isinstance(instructions, str) else asked))


def answer_text(response: bytes, response_type: str) -> str | None:
    """Return what the model said: the first choice's text, joined from events if streamed."""
    if response_type.startswith("text/event-stream"):
        return _streamed_text(response)
    try:
        answer = _ANSWER.decode(response)
        if answer.choices and answer.output is UNSET:
            return answer.choices[0].message.content
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # Another shape.
    data = json_object(response)
    if data is None:
        return None
    if "output" in data:
        return _output_text(data["output"])
    if "choices" not in data:
        text = data.get("text")
        return text if isinstance(text, str) else None
    choice = first_of(data["choices"])
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else None


def _streamed_text(stream: bytes) -> str:
    chunks = decoded_events(stream, _CHUNK)
    if chunks is None or any(chunk.type is not UNSET for chunk in chunks):
        pieces = (_event_text(data) for data in event_objects(stream))
        return "".join(piece for piece in pieces if isinstance(piece, str))
    return "".join(
        [
            choice.delta.content
            for chunk in chunks
            for choice in chunk.choices[:1]
            if choice.index <= 0 and choice.delta.content
        ]
    )


def _event_text(data: dict[str, Any]) -> Any:
    if data.get("type") in _TEXT_DELTAS:
        return data.get("delta")
    choice = first_of(data.get("choices"))
    index = choice.get("index")
    if isinstance(index, int) and index > 0:
        return None  # Another choice: they come mixed.
    delta = choice.get("delta")
    return delta.get("content") if isinstance(delta, dict) else choice.get("text")


def _output_text(output: Any) -> str | None:
    """Return the texts of a response's messages, None when it is made of tool calls alone."""
    messages = [
        object_of(item).get("content")
        for item in (output if isinstance(output, list) else ())
        if object_of(item).get("type") == "message"
    ]
    return "".join(texts(messages)) if messages else None


class OpenAITexts:
    """`gateway.protocols.protocol.Texts` of OpenAI's protocol."""

    def prompt(self, request: bytes) -> str | None:
        """Return what the client asked."""
        return prompt_text(request)

    def answer(self, response: bytes, response_type: str) -> str | None:
        """Return what the model said."""
        return answer_text(response, response_type)

    def stream_of(self, text: str) -> bytes:
        """Return a stream of one chunk."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\ndata: [DONE]\n\n"
