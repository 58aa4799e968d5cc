"""What the spec-shaped upstream's answers are made of: requests read, answers, errors, events."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl

CREATED_AT = 1_700_000_000
CACHED_TOKENS, REASONING_TOKENS = 3, 2


@dataclass(frozen=True)
class Part:
    """One part of a multipart body."""

    name: str
    filename: str
    content: bytes


@dataclass(frozen=True)
class SpecRequest:
    """One request as it arrived; header names are lower-case."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header field, "" if there is none."""
        return next((value for key, value in self.headers if key == name), "")

    @cached_property
    def json(self) -> dict[str, Any]:
        """The JSON object of the body, empty if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of a multipart body (RFC 7578), in order."""
        kind, _, boundary = self.header("content-type").partition("boundary=")
        if not kind.startswith("multipart/"):
            return []
        pieces = self.body.split(b"--" + boundary.strip('"').encode())[1:-1]
        return [_part(piece) for piece in pieces]

    def field(self, name: str) -> str:
        """Return a text field of a multipart body, "" if there is none."""
        return next((part.content.decode() for part in self.parts if part.name == name), "")

    def files(self) -> list[Part]:
        """Return the parts that are files."""
        return [part for part in self.parts if part.filename]

    @property
    def options(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query.decode()))

    @property
    def wants_stream(self) -> bool:
        """True when the request asks for events."""
        return self.json.get("stream") is True or self.field("stream") == "true"

    def digest(self) -> str:
        """Return what tells this request from every other one, whoever sent it.

        Boundaries are drawn by the client and `stream_options` may be the gateway's, so
        multipart bodies and streaming requests count by what they say; others by their bytes.
        """
        if self.parts:
            said: object = [(part.name, part.filename, short(part.content)) for part in self.parts]
        elif self.wants_stream:
            said = {key: value for key, value in self.json.items() if key != "stream_options"}
        else:
            said = short(self.body)
        return short([self.method, self.path, self.query.decode(), said])


def _part(piece: bytes) -> Part:
    head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    words: dict[str, str] = {}
    for line in head.decode().split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-disposition":
            pairs = (word.strip().partition("=") for word in value.split(";")[1:])
            words = {key: text.strip('"') for key, _, text in pairs}
    return Part(words.get("name", ""), words.get("filename", ""), content.removesuffix(b"\r\n"))


class Usage(NamedTuple):
    """What an answer counts, under the names of the prediction record; None where it is silent."""

    prompt_tokens: int | None = None
    response_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


UNCOUNTED = Usage()


@dataclass(frozen=True)
class SpecAnswer:
    """One answer; `sized` says whether its length goes before it."""

    pieces: tuple[bytes, ...]
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())
    sized: bool = True
    usage: Usage = UNCOUNTED

    def counting(self, *counts: int | None) -> Self:
        """Return the answer with what it says it used, in the order of `Usage`."""
        return replace(self, usage=Usage(*counts))


class SpecError(Exception):
    """The request is refused with a status and a message."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def short(value: object) -> str:
    """Return 16 hexadecimal digits that stand for a JSON value or for bytes."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def tokens(value: object) -> int:
    """Return how many tokens a JSON value counts."""
    return max(1, len(json.dumps(value)) // 4)


def json_answer(value: object, status: int = 200, *headers: tuple[str, str]) -> SpecAnswer:
    """Return a whole JSON answer, indented as OpenAI's are."""
    return SpecAnswer((json.dumps(value, indent=2).encode(),), status, headers=headers)


def binary(pieces: Iterable[bytes], content_type: str, *, sized: bool = True) -> SpecAnswer:
    """Return bytes of some type."""
    return SpecAnswer(tuple(pieces), content_type=content_type, sized=sized)


def events(values: Iterable[tuple[str, object]], *, done: bool = False) -> SpecAnswer:
    """Return server-sent events of names ("" for none) and data, `[DONE]` behind them or not."""
    pieces = [_event(name, value) for name, value in values]
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return SpecAnswer(tuple(pieces), content_type="text/event-stream; charset=utf-8", sized=False)


def _event(name: str, value: object) -> bytes:
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {json.dumps(value)}\n\n".encode()


def page(items: list[dict[str, Any]], *, more: bool = False) -> SpecAnswer:
    """Return a list as OpenAI pages it."""
    ids = [item["id"] for item in items] or [""]
    listed = {"object": "list", "data": items, "first_id": ids[0], "last_id": ids[-1]}
    return json_answer({**listed, "has_more": more})
