"""Strategies: everything a sound upstream may send, and the ways in which it may reach us."""

import gzip
import json
import zlib
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Self

from hypothesis import strategies as st
from support.fake_answers import CLOSE, Pause, Step

Fields = list[tuple[str, str]]

KEPT = (
    "x-request-id",
    "openai-organization",
    "openai-processing-ms",
    "anthropic-organization-id",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "cache-control",
    "content-language",
    "etag",
    "last-modified",
    "vary",
    "link",
    "deprecation",
    "server-timing",
    "x-of-some-vendor",
)
"""End-to-end fields: they pass, in order, repeated if they were."""

DROPPED = (
    "set-cookie",
    "keep-alive",
    "alt-svc",
    "strict-transport-security",
    "x-named-by-connection",
    "x-driftgate-upstream",
)
"""What belongs to the connection, to the upstream's site, or to the gateway."""

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TOKENS = st.integers(0, 2**31 - 1)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
_VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["C", "Z"])
_VALUES = st.lists(st.text(_VISIBLE, max_size=12), max_size=3).map(" ".join).map(str.strip)


def _cased(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.title(), name.upper()])


def fields() -> st.SearchStrategy[Fields]:
    """Return header fields, some kept and some dropped, in any case and number."""
    names = st.sampled_from(KEPT + DROPPED).flatmap(_cased)
    return st.lists(st.tuples(names, _VALUES), max_size=8)


@dataclass(frozen=True)
class Wire:
    """One answer and how it travels.

    Attributes
    ----------
    framing : str
        `sized`, `chunked` or `closing`.
    chunks : tuple of int
        Sizes of the chunks, used in turn.
    cuts : tuple of int
        Where segments end, counted in bytes of the whole.
    pause_s : float
        Between segments; 0 for none.
    """

    status: int
    fields: tuple[tuple[str, str], ...]
    framing: str
    chunks: tuple[int, ...]
    cuts: tuple[int, ...]
    pause_s: float

    def having(self, *more: tuple[str, str]) -> Self:
        """Return the same with more header fields."""
        return replace(self, fields=(*self.fields, *more))

    def steps(self, body: bytes) -> list[Step]:
        """Return what the upstream sends."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        lines += {
            "sized": [f"Content-Length: {len(body)}"],
            "chunked": ["Transfer-Encoding: chunked"],
            "closing": ["Connection: close, X-Named-By-Connection"],
        }[self.framing]
        if self.framing != "closing":
            lines.append("Connection: X-Named-By-Connection")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        whole = head + (chunked(body, self.chunks) if self.framing == "chunked" else body)
        steps = segments(whole, self.cuts, self.pause_s)
        return [*steps, CLOSE] if self.framing == "closing" else steps

    def kept(self) -> Fields:
        """Return the fields that a client must see."""
        return [(name.lower(), value) for name, value in self.fields if name.lower() in KEPT]


def segments(whole: bytes, cuts: tuple[int, ...], pause_s: float) -> list[Step]:
    """Return bytes cut at some places, with a pause between the pieces if it is asked for."""
    places = sorted({cut % (len(whole) + 1) for cut in cuts} | {0, len(whole)})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    steps: list[Step] = []
    for piece in pieces:
        steps += [piece, Pause(pause_s)] if pause_s else [piece]
    return steps


def chunked(body: bytes, sizes: tuple[int, ...]) -> bytes:
    """Return a body in chunks of the sizes given, used in turn (RFC 9112 §7.1)."""
    framed, at, turn = b"", 0, 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        piece = body[at : at + size]
        framed += b"%x\r\n%b\r\n" % (len(piece), piece)
        at, turn = at + size, turn + 1
    return framed + b"0\r\n\r\n"


CUTS = st.lists(st.integers(0, 1 << 20), max_size=12).map(tuple)
CHUNKS = st.lists(st.integers(1, 4000), min_size=1, max_size=5).map(tuple)
PAUSES = st.sampled_from([0.0, 0.0, 0.0, 0.0005])


def wires(
    statuses: tuple[int, ...] = (200,), framings: tuple[str, ...] = ("sized", "chunked", "closing")
) -> st.SearchStrategy[Wire]:
    """Return ways to travel."""
    framing, status = st.sampled_from(framings), st.sampled_from(statuses)
    return st.builds(Wire, status, fields().map(tuple), framing, CHUNKS, CUTS, PAUSES)


def details(name: str) -> st.SearchStrategy[Any]:
    """Return what usage says in detail, if anything."""
    counted = st.fixed_dictionaries({}, optional={name: TOKENS | st.none(), "audio_tokens": TOKENS})
    return st.none() | counted


def usages() -> st.SearchStrategy[dict[str, Any]]:
    """Return the usage of a completion, as sparse or rich as servers give it."""
    return st.fixed_dictionaries(
        {"prompt_tokens": TOKENS, "completion_tokens": TOKENS},
        optional={
            "total_tokens": TOKENS,
            "prompt_tokens_details": details("cached_tokens"),
            "completion_tokens_details": details("reasoning_tokens"),
            "queue_time": st.floats(0, 9),
        },
    )


@st.composite
def rendered(draw: st.DrawFn, value: Any, *, lines: bool = True) -> bytes:
    """Return a JSON value in one of the ways in which it can be written."""
    return json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        sort_keys=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1, 2])) if lines else None,
        separators=draw(st.sampled_from([None, (",", ":"), (" ,  ", " :  ")])),
    ).encode()


FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd one"])


@st.composite
def completions(draw: st.DrawFn) -> bytes:
    """Return the body of a plain chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(WORDS)}
    if draw(st.booleans()):
        call = {"name": "f", "arguments": json.dumps({"x": draw(WORDS)})}
        message["tool_calls"] = [{"id": "c", "type": "function", "function": call}]
    choice = {"index": 0, "message": message, "finish_reason": draw(FINISHES)}
    body = {"id": draw(WORDS), "object": "chat.completion", "created": 1, "choices": [choice]}
    body |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "usage": usages() | st.none(),
                "model": st.sampled_from(["m-1", "org/m:2"]),
                "system_fingerprint": st.none() | st.just("fp_1"),
                "of_some_vendor": st.lists(WORDS | st.none() | FLOATS),
            },
        )
    )
    space = st.sampled_from([b"", b"\n", b" \r\n\t"])
    return draw(space) + draw(rendered(body)) + draw(space)


@dataclass(frozen=True)
class WildEvent:
    """One event of a stream; `usage_only` ones are sent to those alone who ask for them."""

    raw: bytes
    usage_only: bool = False


@st.composite
def event_of(draw: st.DrawFn, value: Any) -> bytes:
    """Return an event in one of the ways in which it can be written."""
    text = value if isinstance(value, bytes) else draw(rendered(value))
    space = draw(st.sampled_from([b" ", b" ", b""]))
    lines = [b"data:" + space + line for line in text.split(b"\n")]
    extras = [b": a comment", b":", b"id: 7", b"event: message", b"retry: 100", b"data"]
    for extra in draw(st.lists(st.sampled_from(extras[:5]), max_size=2)):
        lines.insert(draw(st.sampled_from([0, len(lines)])), extra)
    eol = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    return eol.join([*lines, b"", b""])


@st.composite
def _delta(draw: st.DrawFn) -> dict[str, Any]:
    """Return something that a chunk may add."""
    kind = draw(st.sampled_from(["content", "content", "tool", "refusal", "nothing", "reasoning"]))
    word = draw(WORDS)
    if kind == "tool":
        call = {"index": 0, "function": {"arguments": word}}
        return {"tool_calls": [call]}
    if kind == "nothing":
        return {"content": ""}
    return {{"reasoning": "reasoning_content"}.get(kind, kind): word}


@st.composite
def streams(draw: st.DrawFn) -> list[WildEvent]:
    """Return the events of a sound chat stream, `[DONE]` last; usage where servers put it."""
    place = draw(st.sampled_from(["nowhere", "apart", "apart", "with the finish", "everywhere"]))
    usage = draw(usages())
    shared: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "model": "m-1"}
    if draw(st.booleans()):
        shared["system_fingerprint"] = "fp_1"
    if place == "everywhere":
        shared["usage"] = {**usage, "completion_tokens": 1}
    elif draw(st.booleans()):
        shared["usage"] = None

    def chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    values = [chunk({"role": "assistant", "content": draw(WORDS)}, None)]
    values += [chunk(delta, None) for delta in draw(st.lists(_delta(), max_size=6))]
    last = chunk({}, draw(FINISHES))
    if place in {"with the finish", "everywhere"}:
        last["usage"] = usage
    events = [WildEvent(draw(event_of(value))) for value in [*values, last]]
    if place == "apart":
        events.append(WildEvent(draw(event_of({**shared, "choices": [], "usage": usage})), True))
    return with_comments(draw, [*events, WildEvent(draw(event_of(b"[DONE]")))])


def with_comments(draw: st.DrawFn, events: list[WildEvent]) -> list[WildEvent]:
    """Put comments between events, and perhaps a byte order mark before all."""
    comments = st.sampled_from([b": ping\n\n", b":\r\n\r\n", b": \xf0\x9f\x91\x8b\r\r"])
    found: list[WildEvent] = []
    for event in events:
        found += [WildEvent(one) for one in draw(st.lists(comments, max_size=1))]
        found.append(event)
    if draw(st.booleans()):
        found[0] = WildEvent(b"\xef\xbb\xbf" + found[0].raw, found[0].usage_only)
    return found


CODINGS = ("gzip", "deflate")


def encoded(body: bytes, coding: str) -> bytes:
    """Return a body in a content coding (RFC 9110 §8.4.1)."""
    return gzip.compress(body, mtime=0) if coding == "gzip" else zlib.compress(body)
