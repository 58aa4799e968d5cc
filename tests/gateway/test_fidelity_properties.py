"""What goes through the gateway comes out as it went in, however it is cut: by example, many."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import wild_answers as wild
from support.fake_answers import SeenRequest
from support.fidelity_rig import CHAT, Got, Rig, check_fields, running_rig
from support.wild_answers import WildEvent, Wire
from support.wild_reading import said_by_answer, said_by_stream

MANY = settings(max_examples=150, deadline=None)
ERROR = b'{"error": {"message": "no", "type": "t", "param": null, "code": null}}'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a worker and its upstream."""
    with running_rig(tmp_path_factory.mktemp("fidelity")) as running:
        yield running


def chat(rig: Rig, *, stream: bool, usage: bool = False) -> Got:
    """Ask for a chat completion."""
    more = {"stream_options": {"include_usage": True}} if usage else {}
    messages = [{"role": "user", "content": "?"}]
    return rig.post(CHAT, model="m", messages=messages, stream=stream, **more)


@MANY
@given(body=wild.completions(), wire=wild.wires())
def test_plain_answers_are_the_upstreams(rig: Rig, body: bytes, wire: Wire) -> None:
    """A chat completion comes out to the byte; the record says what the whole says."""
    wire = wire.having(("Content-Type", "application/json"))
    rig.upstream.script(lambda _: wire.steps(body))
    got = chat(rig, stream=False)
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
    got = chat(rig, stream=True, usage=asks)
    seen = [event.raw for event in events if asks or not event.usage_only]
    if not asks:
        # What every event says of a usage that is yet to come comes of the gateway's asking, too.
        seen = [raw.replace(b',"usage":null', b"", 1) for raw in seen]
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
    got = chat(rig, stream=True, usage=True)
    assert got.body.startswith(sent)
    assert got.body[len(sent) :] == b"data: [DONE]\n\n"


@settings(max_examples=60, deadline=None)
@given(body=wild.completions(), wire=wild.wires(), coding=st.sampled_from(wild.CODINGS))
def test_encoded_answers_are_the_upstreams(rig: Rig, body: bytes, wire: Wire, coding: str) -> None:
    """A compressed completion comes out compressed, to the byte; the record still reads it."""
    wire = wire.having(("Content-Type", "application/json"), ("Content-Encoding", coding))
    sent = wild.encoded(body, coding)
    rig.upstream.script(lambda _: wire.steps(sent))
    got = chat(rig, stream=False)
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
    got = chat(rig, stream=True)
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
    (got,) = rig.send(wild.segments(whole, cuts, 0.0), lines[:1])
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
