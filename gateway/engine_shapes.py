"""What differs between chat and plain completions on the embedded engine's wire."""

from typing import Any, Protocol

from gateway.engine_wire import parse_prompt
from local_engine.engine import Engine
from local_engine.generation import GenerationEvent
from local_engine.templates import parse_messages


class Shape(Protocol):
    """One of the two forms of an answer.

    Attributes
    ----------
    prefix : str
        Of the answer's id.
    name, chunk_name : str
        Value of `object` in a plain answer and in an event.
    """

    prefix: str
    name: str
    chunk_name: str

    def prompt(self, engine: Engine, body: dict[str, Any]) -> str:
        """Return the text to continue."""
        ...

    def choice(self, text: str, finish_reason: str) -> dict[str, Any]:
        """Return the one choice of a plain answer."""
        ...

    def opening(self) -> list[dict[str, Any]]:
        """Return the choices that begin a stream."""
        ...

    def delta(self, item: GenerationEvent) -> list[dict[str, Any]]:
        """Return the choices that carry an event."""
        ...


class ChatShape:
    """`/v1/chat/completions`."""

    prefix = "chatcmpl"
    name = "chat.completion"
    chunk_name = "chat.completion.chunk"

    def prompt(self, engine: Engine, body: dict[str, Any]) -> str:
        """Return the messages in the model's template."""
        return engine.render(parse_messages(body.get("messages")))

    def choice(self, text: str, finish_reason: str) -> dict[str, Any]:
        """Return a whole message."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}

    def opening(self) -> list[dict[str, Any]]:
        """Return the role."""
        return [_delta({"role": "assistant", "content": ""}, None)]

    def delta(self, item: GenerationEvent) -> list[dict[str, Any]]:
        """Return the text, and the end in an event of its own."""
        choices = [_delta({"content": item.text}, None)] if item.text else []
        if item.finish_reason is not None:
            choices.append(_delta({}, item.finish_reason))
        return choices


class TextShape:
    """`/v1/completions`."""

    prefix = "cmpl"
    name = "text_completion"
    chunk_name = "text_completion"

    def prompt(self, engine: Engine, body: dict[str, Any]) -> str:  # noqa: ARG002 - the protocol's.
        """Return the prompt as it came."""
        return parse_prompt(body)

    def choice(self, text: str, finish_reason: str | None) -> dict[str, Any]:
        """Return a text."""
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}

    def opening(self) -> list[dict[str, Any]]:
        """Return nothing: plain completions have no role."""
        return []

    def delta(self, item: GenerationEvent) -> list[dict[str, Any]]:
        """Return text and end together."""
        return [self.choice(item.text, item.finish_reason)]


def _delta(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
