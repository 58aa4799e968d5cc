"""Whatever else lies below `/v1`: passed as it comes, recorded with what can be seen of it."""

import re
from urllib.parse import unquote

from gateway.errors import error_body
from gateway.protocols.openai import peek_lax
from gateway.protocols.openai_text import OpenAITexts
from gateway.protocols.protocol import Operation, Texts

_NAMED = ("systemone", "decisions")
"""Paths of model servers that no protocol here reads, but that records tell apart."""
_OTHER = "other"
_READING = frozenset({"GET", "HEAD"})
_OURS = "/v1/feedback/"  # nothing lies below this gateway's own path
# KServe's protocol v1, TensorFlow Serving, and the Open Inference Protocol of an upstream whose
# base ends in `/v2`.
_PREDICT = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/(?:versions|labels)/[^/:]+)?"
    r"(?::(?:predict|classify|regress|explain)|/infer)"
)


def asked_of_model(path: str) -> str:
    """Return the model that a path asks for a prediction, "" where it asks for none."""
    found = _PREDICT.fullmatch(path)
    return "" if found is None else unquote(found["model"])


class PassThrough:
    """A protocol of which nothing is known; its errors are OpenAI's, as everything below `/v1`."""

    name = "other"

    def __init__(self) -> None:
        self.texts: Texts = OpenAITexts()
        self._operations = {
            (name, repeatable): Operation(
                name=name,
                protocol=self,
                body="unknown",
                model_in="body",
                repeatable=repeatable,
                peek=peek_lax,
            )
            for name in (*_NAMED, _OTHER)
            for repeatable in (True, False)
        }
        self._predict = Operation(
            name="predict", protocol=self, body="unknown", model_in="path", peek=peek_lax
        )

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a path that is known by name, else the one of all others.

        Clients choose the paths: were operations named after them, there would be no end of names.
        """
        if not path.startswith("/v1/") or path.startswith(_OURS):
            return None
        if method == "POST" and asked_of_model(path):
            return self._predict
        name = path[len("/v1/") :]
        if name in _NAMED:
            return self._operations[name, method == "POST"]
        # What an unknown path does with a body may be to create something.
        return self._operations[_OTHER, method in _READING]

    def is_error(self, body: bytes) -> bool:
        """Say whether there is one: what it looks like is between the two ends of its path."""
        return bool(body)

    def error_body(self, message: str, *, type_: str, code: str | None, param: str | None) -> bytes:
        """Return an error as OpenAI writes it."""
        return error_body(message, type_=type_, code=code, param=param)

    def error_event(self, message: str, *, type_: str, code: str) -> bytes:
        """Return the event that OpenAI's clients raise as an error."""
        return b"data: " + error_body(message, type_=type_, code=code) + b"\n\n"
