"""What the fake upstream can answer: sound answers, and every way of not giving one.

A script is a function from the request seen to steps: bytes to send, `Pause`, or one of `STALL`,
`CLOSE`, `RESET`. After the last step the connection is kept alive. `SCRIPTS` names the scripts;
`script_named("status:503")` finds one with its arguments, so a request may choose its own fate
by the model name `fault:NAME[:ARGUMENT...]`.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True)
class Pause:
    """Send nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class End:
    """How a script ends other than by keeping the connection."""

    how: str


STALL = End("stall")  # nothing more, until the client leaves
CLOSE = End("close")  # FIN, once everything is sent
RESET = End("reset")  # RST

Step = bytes | Pause | End


@dataclass
class SeenRequest:
    """One request as it arrived; `at_s` is `time.monotonic`, `connection_no` counts from 1."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    at_s: float
    connection_no: int
    json: Any = field(default=None)

    def header(self, name: str) -> str | None:
        """Return the first value of a header field."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def model(self) -> str:
        """The model asked for, "" if none."""
        model = self.json.get("model") if isinstance(self.json, dict) else None
        return model if isinstance(model, str) else ""

    @property
    def wants_stream(self) -> bool:
        """True when the request asks for events."""
        return isinstance(self.json, dict) and self.json.get("stream") is True


Script = Callable[[SeenRequest], Iterable[Step]]
TOKENS = 6  # words of an answer


def answer_text(body: Any) -> str:
    """Return the text that answers a request body: it names the prompt by its digest.

    A client can compute it too, and so notice an answer that belongs to somebody else.
    """
    prompt = [body.get(key) for key in ("messages", "prompt", "input")]
    digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()
    return f"the digest of the prompt is {digest[:16]}"


def head(status: int, *fields: str, reason: str | None = None) -> bytes:
    """Return a status line and header fields."""
    if reason is None:
        reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Odd"
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *fields, "", ""]).encode()


def whole(status: int, body: bytes, *fields: str, content_type: str = "application/json") -> bytes:
    """Return a complete answer with its length."""
    return (
        head(status, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *fields)
        + body
    )


def chunk(data: bytes) -> bytes:
    """Return one piece of a chunked body; of nothing, its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(value: Any, *, eol: str = "\n", name: str = "") -> bytes:
    """Return one server-sent event."""
    text = value if isinstance(value, str) else json.dumps(value)
    prefix = f"event: {name}{eol}" if name else ""
    return f"{prefix}data: {text}{eol}{eol}".encode()


STREAM_HEAD = head(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked")


def piece(request: SeenRequest, **delta: Any) -> dict[str, Any]:
    """Return a chat completion chunk; `finish_reason` goes beside the delta."""
    finish = delta.pop("finish_reason", None)
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": request.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}],
    }


def usage_of(request: SeenRequest) -> dict[str, int]:
    """Return the token counts of an answer."""
    prompt = max(1, len(request.body) // 4)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": TOKENS,
        "total_tokens": prompt + TOKENS,
    }


def events(request: SeenRequest, *, eol: str = "\n", done: bool = True) -> Iterator[bytes]:
    """Yield the events of a sound stream, one a time."""
    words = answer_text(request.json).split(" ")
    yield event(piece(request, role="assistant", content=""), eol=eol)
    for number, word in enumerate(words):
        yield event(piece(request, content=f" {word}" if number else word), eol=eol)
    yield event(piece(request, finish_reason="stop"), eol=eol)
    options = request.json.get("stream_options") or {}
    if options.get("include_usage"):
        last = piece(request) | {"choices": [], "usage": usage_of(request)}
        yield event(last, eol=eol)
    if done:
        yield event("[DONE]", eol=eol)


def ok(request: SeenRequest) -> Iterator[Step]:
    """Answer as an OpenAI server does: chat, text, embeddings, models; plain or as events."""
    path = request.target.partition("?")[0]
    if path.endswith("/models"):
        model = {"id": "fake", "object": "model", "created": 0, "owned_by": "tests"}
        yield whole(200, json.dumps({"object": "list", "data": [model]}).encode())
    elif path.endswith("/embeddings"):
        yield whole(200, json.dumps(_embeddings(request)).encode())
    elif not isinstance(request.json, dict):
        yield from status("400")(request)
    elif request.wants_stream:
        yield STREAM_HEAD
        for one in events(request):
            yield chunk(one)
        yield chunk(b"")
    else:
        yield whole(200, json.dumps(completion(request)).encode())


def completion(request: SeenRequest) -> dict[str, Any]:
    """Return the object of a plain chat or text completion."""
    text = answer_text(request.json)
    chat = request.target.partition("?")[0].endswith("/chat/completions")
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return {
        "id": "chatcmpl-fake" if chat else "cmpl-fake",
        "object": "chat.completion" if chat else "text_completion",
        "created": 1_700_000_000,
        "model": request.model,
        "choices": [choice],
        "usage": usage_of(request),
    }


def _embeddings(request: SeenRequest) -> dict[str, Any]:
    texts = request.json["input"]
    texts = texts if isinstance(texts, list) else [texts]
    data = []
    for index, text in enumerate(texts):
        digest = hashlib.sha256(json.dumps(text).encode()).digest()
        vector: Any = [byte / 255.0 for byte in digest[:8]]
        if request.json.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<8f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def status(code: str = "500", *fields: str) -> Script:
    """Answer an OpenAI error object with a status; fields are `name=value`."""
    error = {"message": f"fake error {code}", "type": "fake_error", "param": None, "code": None}
    lines = [one.replace("=", ": ", 1) for one in fields]
    if code == "429" and not lines:
        lines = ["Retry-After: 1"]
    return lambda _: [whole(int(code), json.dumps({"error": error}).encode(), *lines)]


def _interrupted(after: str, *steps: Step) -> Script:
    """Stream some of a sound answer, then other steps.

    `after` is ``head``, ``role`` or ``token`` (two words).
    """
    count = {"head": 0, "role": 1, "token": 3}[after]

    def script(request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        for one in list(events(request))[:count]:
            yield chunk(one)
        yield from steps

    return script


def slow_tokens(seconds: str = "0.05") -> Script:
    """Stream a sound answer with a pause before every event."""

    def script(request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        for one in events(request):
            yield Pause(float(seconds))
            yield chunk(one)
        yield chunk(b"")

    return script


def drip(seconds: str = "0.001", size: str = "1") -> Script:
    """Give a sound answer, head included, in pieces of a few bytes."""

    def script(request: SeenRequest) -> Iterator[Step]:
        raw = b"".join(step for step in ok(request) if isinstance(step, bytes))
        for start in range(0, len(raw), int(size)):
            yield raw[start : start + int(size)]
            yield Pause(float(seconds))

    return script


def late(seconds: str = "0.1") -> Script:
    """Give a sound answer after a while."""

    def script(request: SeenRequest) -> Iterator[Step]:
        yield Pause(float(seconds))
        yield from ok(request)

    return script


def for_ever(kind: str = "comments", seconds: str = "0.01") -> Script:
    """Stream what is no token for ever: `comments`, `roles`, `empty`; or `tokens` without end."""

    def script(request: SeenRequest) -> Iterator[Step]:
        one = {
            "comments": b": still here\n\n",
            "roles": event(piece(request, role="assistant")),
            "empty": event(piece(request, content="")),
            "tokens": event(piece(request, content=" more")),
        }[kind]
        yield STREAM_HEAD
        while True:
            yield chunk(one)
            yield Pause(float(seconds))

    return script


def small_chunks(size: str = "1") -> Script:
    """Stream a sound answer in chunks of one byte."""

    def script(request: SeenRequest) -> Iterator[Step]:
        raw = b"".join(events(request))
        yield STREAM_HEAD
        pieces = [raw[at : at + int(size)] for at in range(0, len(raw), int(size))]
        yield b"".join(chunk(one) for one in pieces) + chunk(b"")

    return script


def streamed(change: Callable[[SeenRequest, list[bytes]], list[bytes]]) -> Script:
    """Stream the events of a sound answer after a change to their list."""

    def script(request: SeenRequest) -> Iterator[Step]:
        body = b"".join(change(request, list(events(request))))
        yield STREAM_HEAD + chunk(body) + chunk(b"")

    return script


def wrong_length(surplus: str = "-10") -> Script:
    """Announce a plain answer longer (negative) or shorter (positive) than what is sent."""

    def script(request: SeenRequest) -> Iterator[Step]:
        body = json.dumps(completion(request)).encode()
        length = len(body) - int(surplus)
        yield head(200, "Content-Type: application/json", f"Content-Length: {length}") + body
        if int(surplus) < 0:
            yield CLOSE

    return script


def in_two_framings(*fields: str) -> Script:
    """Give a plain answer whose head carries more framing fields than one; `name=value`."""

    def script(request: SeenRequest) -> Iterator[Step]:
        body = json.dumps(completion(request)).encode()
        lines = [one.replace("=", ": ", 1) for one in fields]
        yield head(200, f"Content-Length: {len(body)}", *lines) + body

    return script


def redirect(*to: str) -> Script:
    """Answer 307 to a URL, whose colons stand where arguments are parted."""
    location = ":".join(to) or "http://127.0.0.1:9/"
    return lambda _: [head(307, f"Location: {location}", "Content-Length: 0")]


_ERROR = {"message": "fake error", "type": "server_error", "param": None, "code": "fake"}
_ERRORS: dict[str, bytes] = {
    "openai": event({"error": _ERROR}),
    "vllm": event({"object": "error", "message": "engine died", "type": "InternalServerError"}),
    "named": event({"error": {"message": "overloaded"}}, name="error"),
    "string": event({"error": "engine died"}),
    "bare": event("engine died"),
    "null": event("null"),
    "half": b'data: {"choices": [{"ind\n\n',
    "html": b"<html><body>Bad gateway</body></html>\n\n",
}


def error_event(shape: str = "openai", after: str = "token") -> Script:
    """Send an error in the stream; vLLM sends `[DONE]` behind its own."""
    steps: list[Step] = [chunk(_ERRORS[shape])]
    if shape == "vllm":
        steps.append(chunk(event("[DONE]")))
    return _interrupted(after, *steps, chunk(b""))


def _fixed(*steps: Step) -> Callable[[], Script]:
    return lambda: lambda _: steps


SCRIPTS: dict[str, Callable[..., Script]] = {
    "ok": lambda: ok,
    "status": status,
    "late": late,
    "slow_tokens": slow_tokens,
    "drip": drip,
    "small_chunks": small_chunks,
    "for_ever": for_ever,
    "error_event": error_event,
    "wrong_length": wrong_length,
    "two_framings": in_two_framings,
    "reset": _fixed(RESET),
    "close": _fixed(CLOSE),
    "close_mid_head": _fixed(b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
    "garbage": _fixed(b"\x16\x03\x01 this is not HTTP\r\n\r\n", CLOSE),
    "stall": _fixed(STALL),
    "stall_mid_head": _fixed(b"HTTP/1.1 200 OK\r\n", STALL),
    "stall_after": lambda after="head": _interrupted(after, STALL),
    "close_after": lambda after="token": _interrupted(after, CLOSE),
    "reset_after": lambda after="token": _interrupted(after, Pause(0.02), RESET),
    "end_after": lambda after="token": _interrupted(after, chunk(b"")),  # no finish_reason
    "no_done": lambda: streamed(lambda _, all_: all_[:-1]),
    "after_done": lambda: streamed(lambda _, all_: [*all_, event("surplus")]),
    "done_only": lambda: streamed(lambda _, all_: all_[-1:]),
    "crlf": lambda: streamed(lambda request, _: list(events(request, eol="\r\n"))),
    "comments": lambda: streamed(lambda _, all_: [b": hello\n\n" + one for one in all_]),
    "html": _fixed(whole(200, b"<html>Welcome</html>", content_type="text/html")),
    "empty": _fixed(whole(200, b"")),
    "truncated_json": _fixed(whole(200, b'{"id": "chatcmpl-fake", "choices": [')),
    "redirect": redirect,
}


def script_named(name: str) -> Script:
    """Return the script of a name with arguments, such as ``status:429:retry-after=2``."""
    kind, *arguments = name.split(":")
    return SCRIPTS[kind](*arguments)
