"""The words of a recorded request and answer, read at ingest, far from the hot path."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.protocols.asked import Asked, FormFields, chat_form
from gateway.protocols.json_text import (
    decoded_events,
    event_objects,
    first_of,
    json_object,
    object_of,
    texts,
)
from gateway.protocols.openai_calls import called_tools

_TEXT_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.output_audio_transcript.delta",
        "transcript.text.delta",
    }
)


class _Said(msgspec.Struct):
    content: str


class _Asked(FormFields, kw_only=True):
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


def read_request(request: bytes) -> Asked | None:
    """Return what the client asked: every text of `messages`, `prompt` or `input`, in order.

    None when the body is cut or not JSON: a part of a prompt is not a prompt.
    """
    try:
        found = _ASKED.decode(request)
        prompt = "\n".join([message.content for message in found.messages])
        return Asked(prompt, found.form(), found.lent())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = json_object(request)
    if data is None:
        return None
    tools = data.get("tools", data.get("functions"))
    if "messages" in data:
        return Asked("\n".join(texts(data["messages"])), chat_form(data), tools)
    instructions = data.get("instructions")
    asked = data.get("prompt", data.get("input"))
    said = texts([instructions, asked] if isinstance(instructions, str) else asked)
    form = object_of(data.get("text")).get("format")
    return Asked("\n".join(said), chat_form(data) if form is None else form, tools)


def prompt_text(request: bytes) -> str | None:
    """Return every text of a request, None when the body is cut or not JSON."""
    asked = read_request(request)
    return None if asked is None else asked.prompt


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
    text = _words_of(message) if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else None


def _streamed_text(stream: bytes) -> str:
    chunks = decoded_events(stream, _CHUNK)
    if chunks is not None and not any(chunk.type is not UNSET for chunk in chunks):
        text = "".join(
            [
                choice.delta.content
                for chunk in chunks
                for choice in chunk.choices[:1]
                if choice.index <= 0 and choice.delta.content
            ]
        )
        if text or not (b'"refusal"' in stream or b'"transcript"' in stream):
            return text
    pieces = (_event_text(data) for data in event_objects(stream))
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _words_of(message: dict[str, Any]) -> Any:
    """Return the text of a message or a delta; a refusal and what is spoken stand elsewhere."""
    spoken = object_of(message.get("audio")).get("transcript")
    return message.get("content") or message.get("refusal") or spoken or message.get("content")


def _event_text(data: dict[str, Any]) -> Any:
    if data.get("type") in _TEXT_DELTAS:
        return data.get("delta")
    choice = first_of(data.get("choices"))
    index = choice.get("index")
    if isinstance(index, int) and index > 0:
        return None  # Another choice: they come mixed.
    delta = choice.get("delta")
    return _words_of(delta) if isinstance(delta, dict) else choice.get("text")


def _output_text(output: Any) -> str | None:
    """Return the texts of a response's messages, None when it is made of tool calls alone."""
    items = map(object_of, output if isinstance(output, list) else ())
    messages = [item.get("content") for item in items if item.get("type") == "message"]
    if not messages:
        return None
    parts = [part for content in messages if isinstance(content, list) for part in content]
    refusals = [object_of(part).get("refusal") for part in parts]
    return "".join(texts(messages)) or "".join(texts(refusals))


class OpenAITexts:
    """`gateway.protocols.protocol.Texts` of OpenAI's protocol."""

    def asked(self, request: bytes) -> Asked | None:
        """Return what the client asked."""
        return read_request(request)

    def called(self, response: bytes, response_type: str) -> frozenset[str]:
        """Return the names of the tools that the answer calls."""
        return called_tools(response, response_type)

    def answer(self, response: bytes, response_type: str) -> str | None:
        """Return what the model said."""
        return answer_text(response, response_type)

    def stream_of(self, text: str) -> bytes:
        """Return a stream of one chunk."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\ndata: [DONE]\n\n"
