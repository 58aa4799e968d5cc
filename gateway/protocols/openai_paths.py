"""OpenAI's protocol: which path is which operation, and how its errors look."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.errors import MethodNotAllowed, NotFound, error_body
from gateway.protocols.openai import (
    ChatEvents,
    is_error_object,
    peek,
    peek_lax,
    read_chat,
    read_embedding,
)
from gateway.protocols.openai_realtime import RealtimeEvents
from gateway.protocols.openai_text import OpenAITexts
from gateway.protocols.openai_typed import (
    TypedEvents,
    peek_response,
    read_object,
    read_response,
    read_token_count,
)
from gateway.protocols.passing import asked_of_model
from gateway.protocols.protocol import AnswerReader, Operation, Texts, WireProtocol

PREFIX = "/v1/"

# Paths below /v1 that change a model server instead of asking it (vLLM).
_REFUSED = frozenset({"load_lora_adapter", "unload_lora_adapter"})
_FAMILIES = {
    "files": "files",
    "uploads": "uploads",
    "batches": "batches",
    "vector_stores": "vector_stores",
    "fine_tuning": "fine_tuning",
    "models": "models",
    "assistants": "assistants",
    "threads": "threads",
    "conversations": "conversations",
    "containers": "containers",
    "evals": "evals",
    "graders": "graders",
    "videos": "videos",
    "realtime": "realtime",
    "responses": "stored_responses",
    "chatkit": "chatkit",
}
"""First part of a path to the operation of all that lies below it, whatever the method."""

_KEEPING_NOTHING = frozenset({"models", "realtime"})  # what they answer is called otherwise
_STORED_CHAT = "/v1/chat/completions"
_RESPONSES = "/v1/responses"
_EXTRAS = ("rerank", "score", "tokenize", "detokenize", "pooling", "classify")
"""Of vLLM, and of those who follow it; they are below `/v1` and at the root."""
_AT_ROOT = {
    **{"/" + path: path for path in _EXTRAS},
    "/v2/rerank": "rerank",
    "/v2/embed": "embed",
    "/embed": "embed",
}
"""What vLLM, SGLang, llama-server and text-embeddings-inference serve outside `/v1`."""


class OpenAI:
    """The paths below `/v1` that OpenAI's API names, and what vLLM adds there and beside it.

    Attributes
    ----------
    asked : dict of str to Operation
        What is asked by POST, by its path.
    """

    name = "openai"

    def __init__(self) -> None:
        self.texts: Texts = OpenAITexts()
        self.asked = {PREFIX + path: operation for path, operation in _asked(self).items()}
        self.asked |= {path: _json(self, name, root=True) for path, name in _AT_ROOT.items()}
        self._exact: dict[str, Mapping[str, Operation]] = {
            path: {"POST": operation} for path, operation in self.asked.items()
        }
        self._families = {
            first: Operation(
                name, self, stateful=True, repeatable=False, keeps=first not in _KEEPING_NOTHING
            )
            for first, name in _FAMILIES.items()
        }
        stored = Operation("stored_chat", self, stateful=True, repeatable=False)
        self._stored_chat = stored
        chat = self._exact[_STORED_CHAT]
        self._exact[_STORED_CHAT] = {**chat, "GET": stored, "HEAD": stored}
        realtime = Operation(
            name="realtime",
            protocol=self,
            body="none",
            model_in="query",
            repeatable=False,
            upgrade=True,
            events=RealtimeEvents,
        )
        self._exact["/v1/realtime"] = {"GET": realtime}
        # Responses over one connection: each message names its own model.
        socket = replace(realtime, name="responses_socket", model_in="nowhere")
        self._exact[_RESPONSES] = {**self._exact[_RESPONSES], "GET": socket}

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a path of OpenAI's API."""
        methods = self._exact.get(path)
        if methods is not None:
            found = methods.get(method)
            if found is None:
                taken = " or ".join(name for name in methods if name != "HEAD")
                raise MethodNotAllowed(
                    f"`{path}` takes {taken}, not {method}.", allowed=", ".join(methods)
                )
            return found
        if path.startswith(_STORED_CHAT + "/"):
            return self._stored_chat
        first = path[len(PREFIX) :].partition("/")[0]
        if first.partition(";")[0] in _REFUSED:
            raise NotFound(f"There is no path `{path}` here.")
        if first == "models" and method == "POST" and asked_of_model(path):
            return None
        return self._families.get(first)

    def is_error(self, body: bytes) -> bool:
        """Say whether a body is ``{"error": {"message": str, ...}}``."""
        return is_error_object(body)

    def error_body(self, message: str, *, type_: str, code: str | None, param: str | None) -> bytes:
        """Return an error as OpenAI writes it."""
        return error_body(message, type_=type_, code=code, param=param)

    def error_event(self, message: str, *, type_: str, code: str) -> bytes:
        """Return the event that OpenAI's clients raise as an error."""
        return b"data: " + error_body(message, type_=type_, code=code) + b"\n\n"


def _asked(protocol: WireProtocol) -> dict[str, Operation]:
    """Return what is asked by POST, by its path below `/v1`."""
    return {
        "chat/completions": _generation(protocol, "chat"),
        "completions": _generation(protocol, "completion"),
        "embeddings": Operation(
            name="embedding",
            protocol=protocol,
            body="json",
            model_in="body",
            model_required=True,
            cacheable=True,
            engine=True,
            peek=peek,
            answer=read_embedding,
            strict=True,
        ),
        "responses": Operation(
            name="response",
            protocol=protocol,
            body="json",
            model_in="body",
            peek=peek_response,
            answer=read_response,
            events=TypedEvents,
            strict=True,
            keeps=True,
        ),
        "responses/compact": _of_response(protocol, "compaction", read_object),
        "responses/input_tokens": _of_response(protocol, "input_tokens", read_token_count),
        "moderations": _json(protocol, "moderation", strict=True),
        "audio/speech": _json(protocol, "speech"),
        "images/generations": _json(protocol, "image"),
        "images/edits": _form(protocol, "image_edit"),
        "images/variations": _form(protocol, "image_variation"),
        "audio/transcriptions": _form(protocol, "transcription", model_required=True),
        "audio/translations": _form(protocol, "translation", model_required=True),
        **{path: _json(protocol, path) for path in _EXTRAS},
    }


def _generation(protocol: WireProtocol, name: str) -> Operation:
    return Operation(
        name=name,
        protocol=protocol,
        body="json",
        model_in="body",
        model_required=True,
        cacheable=True,
        usage_option=True,
        engine=True,
        peek=peek,
        answer=read_chat,
        events=ChatEvents,
        strict=True,
    )


def _of_response(protocol: WireProtocol, name: str, answer: AnswerReader) -> Operation:
    """Return what is asked like a response, and keeps nothing."""
    return Operation(
        name=name,
        protocol=protocol,
        body="json",
        model_in="body",
        peek=peek_response,
        answer=answer,
    )


def _json(
    protocol: WireProtocol, name: str, *, strict: bool = False, root: bool = False
) -> Operation:
    return Operation(
        name=name,
        protocol=protocol,
        body="json",
        model_in="body",
        peek=peek_lax,
        answer=read_object,
        events=None if strict else TypedEvents,
        strict=strict,
        root=root,
    )


def _form(protocol: WireProtocol, name: str, *, model_required: bool = False) -> Operation:
    return Operation(
        name=name,
        protocol=protocol,
        body="form",
        model_in="body",
        model_required=model_required,
        peek=peek_lax,
        answer=read_object,
        events=TypedEvents,
    )
