"""What goes through the gateway comes out as it went in, however it is cut: by example, many."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import wild_answers as wild
from support.fake_answers import Pause, SeenRequest, Step
from support.fake_upstream import FakeUpstream
from support.spool_rows import SpoolRows
from support.wild_answers import DROPPED, KEPT, WildEvent, Wire
from support.wild_reading import Said, said_by_answer, said_by_stream
from support.worker import RunningWorker

from storage.records import End

CONFIG = """
upstreams:
  a: {{url: "{a}"}}
routes:
  "*": {{split: {{a: 1.0}}, retry: {{attempts: 1}}}}
engine: {{enabled: false}}
"""
CHAT = "/v1/chat/completions"
MANY = settings(max_examples=150, deadline=None)
ERROR = b'{"error": {"message": "no", "type": "t", "param": null, "code": null}}'


class Got(NamedTuple):
    """An answer as a client has it; field names are lower-case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def kept(self) -> list[tuple[str, str]]:
        """Return the end-to-end fields that tests draw."""
        return [(name, value) for name, value in self.fields if name in KEPT]

    def value(self, name: str) -> str:
        """Return the value of a field."""
        return dict(self.fields)[name]


class Rig(NamedTuple):
    """A worker and its upstream, for all examples of the module."""

    upstream: FakeUpstream
    worker: RunningWorker
    spool: SpoolRows

    def ask(self, head: str, body: bytes = b"", pieces: list[Step] | None = None) -> Got:
        """Send a request, in pieces if they are given; read the answer to its end."""
        head += f"\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        whole: list[Step] = [head.encode("latin-1") + body] if pieces is None else pieces
        with socket.create_connection(("127.0.0.1", self.worker.port), timeout=20) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in whole:
                if isinstance(piece, bytes):
                    raw.sendall(piece)
                elif isinstance(piece, Pause):
                    time.sleep(piece.seconds)
            answer = http.client.HTTPResponse(raw, method=head.partition(" ")[0])
            answer.begin()
            with answer:
                fields = [(name.lower(), value) for name, value in answer.getheaders()]
                return Got(answer.status, fields, answer.read())

    def chat(self, *, stream: bool, usage: bool = False) -> Got:
        """Ask for a chat completion."""
        body = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": stream}
        if usage:
            body["stream_options"] = {"include_usage": True}
        head = f"POST {CHAT} HTTP/1.1\r\nContent-Type: application/json"
        return self.ask(head, json.dumps(body).encode())

    def row(self, got: Got) -> End:
        """Return the record of an answer."""
        identity = got.value("x-driftgate-id")
        (row,) = [row for row in self.spool.read() if row.prediction.id == identity]
        return row

    def said(self, got: Got) -> Said:
        """Return what the record keeps of what an answer said of itself."""
        facts = self.row(got).prediction
        return Said(*(getattr(facts, name) for name in Said._fields))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a worker and its upstream."""
    folder: Path = tmp_path_factory.mktemp("fidelity")
    with (
        FakeUpstream() as upstream,
        RunningWorker(folder, CONFIG.format(a=upstream.url)) as worker,
    ):
        yield Rig(upstream, worker, SpoolRows(folder / "spool"))


def check_fields(got: Got, wire: Wire) -> None:
    """Check that what is end to end came, in order, and that the rest did not."""
    names = [name for name, _ in got.fields]
    assert got.kept() == wire.kept()
    assert set(names) & set(DROPPED) == {"x-driftgate-upstream"}
    assert [value for name, value in got.fields if name == "x-driftgate-upstream"] == ["a"]


@MANY
@given(body=wild.completions(), wire=wild.wires())
def test_plain_answers_are_the_upstreams(rig: Rig, body: bytes, wire: Wire) -> None:
    """A chat completion comes out to the byte; the record says what the whole says."""
    wire = wire.having(("Content-Type", "application/json"))
    rig.upstream.script(lambda _: wire.steps(body))
    got = rig.chat(stream=False)
    assert (got.status, got.body) == (200, body)
    check_fields(got, wire)
    assert rig.said(got) == said_by_answer(body)
    payload = rig.row(got).payload
    assert payload is not None
    assert payload.response == body


@MANY
@given(events=wild.streams(), wire=wild.wires(framings=("chunked", "closing")), asks=st.booleans())
def test_streams_are_the_upstreams(
    rig: Rig, events: list[WildEvent], wire: Wire, *, asks: bool
) -> None:
    """Events come out to the byte, but for a usage that the client did not ask for."""
    wire = wire.having(("Content-Type", "text/event-stream; charset=utf-8"))
    sent = b"".join(event.raw for event in events)
    rig.upstream.script(lambda _: wire.steps(sent))
    got = rig.chat(stream=True, usage=asks)
    seen = [event.raw for event in events if asks or not event.usage_only]
    assert (got.status, got.body) == (200, b"".join(seen))
    check_fields(got, wire)
    assert rig.said(got) == said_by_stream(sent)
    payload = rig.row(got).payload
    assert payload is not None
    assert payload.response == got.body


@settings(max_examples=40, deadline=None)
@given(events=wild.streams(), wire=wild.wires(framings=("chunked", "closing")))
def test_stream_without_its_end_mark_gets_it(rig: Rig, events: list[WildEvent], wire: Wire) -> None:
    """A finished stream that lacks `[DONE]` comes out with it, the rest to the byte."""
    wire = wire.having(("Content-Type", "text/event-stream"))
    sent = b"".join(event.raw for event in events[:-1])
    rig.upstream.script(lambda _: wire.steps(sent))
    got = rig.chat(stream=True, usage=True)
    assert got.body.startswith(sent)
    assert got.body[len(sent) :] == b"data: [DONE]\n\n"


@settings(max_examples=60, deadline=None)
@given(body=wild.completions(), wire=wild.wires(), coding=st.sampled_from(wild.CODINGS))
def test_encoded_answers_are_the_upstreams(rig: Rig, body: bytes, wire: Wire, coding: str) -> None:
    """A compressed completion comes out compressed, to the byte; the record still reads it."""
    wire = wire.having(("Content-Type", "application/json"), ("Content-Encoding", coding))
    sent = wild.encoded(body, coding)
    rig.upstream.script(lambda _: wire.steps(sent))
    got = rig.chat(stream=False)
    assert (got.status, got.body, got.value("content-encoding")) == (200, sent, coding)
    assert rig.said(got) == said_by_answer(body)


@settings(max_examples=60, deadline=None)
@given(
    events=wild.streams(),
    wire=wild.wires(framings=("chunked", "closing")),
    coding=st.sampled_from(wild.CODINGS),
)
def test_encoded_streams_are_the_upstreams(
    rig: Rig, events: list[WildEvent], wire: Wire, coding: str
) -> None:
    """A compressed stream comes out compressed, to the byte; the record still reads it."""
    wire = wire.having(("Content-Type", "text/event-stream"), ("Content-Encoding", coding))
    whole = b"".join(event.raw for event in events)
    sent = wild.encoded(whole, coding)
    rig.upstream.script(lambda _: wire.steps(sent))
    got = rig.chat(stream=True)
    assert (got.status, got.body, got.value("content-encoding")) == (200, sent, coding)
    assert rig.said(got) == said_by_stream(whole)


TARGETS = (
    "GET /v1/files/file-1/content",
    "GET /v1/containers/c/files/f/content?order=asc&limit=2",
    "POST /v1/audio/speech",
    "DELETE /v1/files/file-1",
    "PATCH /v1/of/some/vendor?x=%20y&x=z",
)


@MANY
@given(
    seed=st.binary(max_size=300),
    times=st.sampled_from([1, 1, 1, 7, 1000]),
    wire=wild.wires((200, 200, 201, 202, 206)),
    target=st.sampled_from(TARGETS),
    kind=st.sampled_from(["application/octet-stream", "audio/mpeg", "application/jsonl", ""]),
)
def test_passed_bytes_are_the_upstreams(
    rig: Rig, seed: bytes, times: int, wire: Wire, target: str, kind: str
) -> None:
    """What this gateway does not read comes out to the byte, whatever it is, and is recorded."""
    if kind:
        wire = wire.having(("Content-Type", kind))
    rig.upstream.script(lambda _: wire.steps(seed * times))
    got = rig.ask(f"{target} HTTP/1.1", b'{"model": "m"}' if target.startswith("POST") else b"")
    assert (got.status, got.body) == (wire.status, seed * times)
    assert dict(got.fields).get("content-type", "") == kind
    check_fields(got, wire)
    record = rig.row(got).prediction
    assert (record.status, record.reason) == (wire.status, None)
    assert record.response_bytes == len(seed) * times


@settings(max_examples=60, deadline=None)
@given(
    wire=wild.wires((400, 404, 409, 413, 422)),
    target=st.sampled_from([*TARGETS, f"POST {CHAT}"]),
    space=st.sampled_from([b"", b"\n", b"  "]),
)
def test_refusals_are_the_upstreams(rig: Rig, wire: Wire, target: str, space: bytes) -> None:
    """An error object with its 4xx comes out to the byte."""
    wire = wire.having(("Content-Type", "application/json"))
    rig.upstream.script(lambda _: wire.steps(space + ERROR + space))
    body = b'{"model": "m", "messages": []}' if target.startswith("POST") else b""
    got = rig.ask(f"{target} HTTP/1.1", body)
    assert (got.status, got.body) == (wire.status, space + ERROR + space)
    check_fields(got, wire)
    assert rig.row(got).prediction.reason == "upstream_rejected"


ASKED = (
    ("x-of-some-vendor", "one"),
    ("X-Of-Some-Vendor", "two, three"),
    ("OpenAI-Organization", "org"),
    ("OpenAI-Beta", "assistants=v2"),
    ("Idempotency-Key", "k"),
    ("User-Agent", "some/1.0 (client)"),
    ("Accept", "*/*"),
)


@MANY
@given(
    value=st.dictionaries(st.text(max_size=5), st.text(max_size=30) | wild.FLOATS),
    data=st.data(),
    fields=st.lists(st.sampled_from(ASKED), max_size=8),
    cuts=wild.CUTS,
    chunks=st.none() | wild.CHUNKS,
)
def test_requests_are_the_clients(
    rig: Rig,
    value: dict[str, object],
    data: st.DataObject,
    fields: list[tuple[str, str]],
    cuts: tuple[int, ...],
    chunks: tuple[int, ...] | None,
) -> None:
    """A request reaches the upstream to the byte: body, query and end-to-end fields."""
    asked = {"of some vendor": value, "model": "m", "messages": [], "seed": 2**70}
    body = data.draw(wild.rendered(asked))
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(body)}"
    lines = [f"POST {CHAT}?q=%2F&q=+ HTTP/1.1", "Host: gateway", framing]
    lines += [f"{name}: {text}" for name, text in fields]
    head = "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()
    whole = head + (wild.chunked(body, chunks) if chunks else body)
    rig.upstream.requests.clear()
    got = rig.ask(f"POST {CHAT}", pieces=wild.segments(whole, cuts, 0.0))
    assert got.status == 200
    (seen,) = rig.upstream.requests
    assert seen.body == body
    assert seen.target == "/v1/chat/completions?q=%2F&q=+"
    assert kept_of(seen) == [(name.lower(), text) for name, text in fields]
    assert rig.row(got).prediction.request_bytes == len(body)


def kept_of(seen: SeenRequest) -> list[tuple[str, str]]:
    """Return the fields that reached the upstream, of those that tests draw."""
    names = {name.lower() for name, _ in ASKED}
    return [(name.lower(), text) for name, text in seen.headers if name.lower() in names]


@pytest.mark.parametrize("framing", ["sized", "chunked"])
@pytest.mark.parametrize("status", [200, 404])
def test_head_has_no_body(rig: Rig, status: int, framing: str) -> None:
    """HEAD passes, and its answer is a head alone with the length of what GET would give."""
    wire = Wire(status, (("ETag", '"e"'),), framing, (1,), (), 0.0)
    head = next(step for step in wire.steps(b"x" * 42) if isinstance(step, bytes))
    rig.upstream.script(lambda _: [head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"])
    got = rig.ask("HEAD /v1/files/file-1/content HTTP/1.1")
    assert (got.status, got.body) == (status, b"")
    assert rig.upstream.requests[-1].method == "HEAD"
    assert dict(got.fields).get("content-length") == ("42" if framing == "sized" else None)
    assert got.value("etag") == '"e"'
    assert rig.row(got).prediction.status == status


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(rig: Rig, status: int) -> None:
    """204 and 304 have no body by rule: the answer ends with its head."""
    head = f"HTTP/1.1 {status} No\r\nETag: e\r\n\r\n".encode()
    rig.upstream.script(lambda _: [head])
    got = rig.ask("GET /v1/files/file-1 HTTP/1.1")
    assert (got.status, got.body) == (status, b"")
    assert rig.row(got).prediction.reason is None
