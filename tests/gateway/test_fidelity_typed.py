"""Streams whose events say their type come out to the byte, and their records are right."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import wild_answers as wild
from support import wild_typed
from support.fidelity_rig import Got, Rig, check_fields, running_rig
from support.wild_answers import Wire
from support.wild_typed import Typed

FEWER = settings(max_examples=80, deadline=None)
EVENTS = ("Content-Type", "text/event-stream")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a worker and its upstream."""
    with running_rig(tmp_path_factory.mktemp("typed")) as running:
        yield running


def ask(rig: Rig, path: str) -> Got:
    """Ask for a stream."""
    if path == "/v1/messages":
        return rig.post(path, model="claude", max_tokens=5, messages=[], stream=True)
    return rig.post(path, model="m", input="?", stream=True)


@FEWER
@given(typed=wild_typed.anthropic_streams(), wire=wild.wires(framings=("chunked", "closing")))
def test_messages_are_the_upstreams(rig: Rig, typed: Typed, wire: Wire) -> None:
    """The stream of an Anthropic message comes out to the byte."""
    wire = wire.having(EVENTS)
    rig.upstream.script(lambda _: wire.steps(typed.sent))
    got = ask(rig, "/v1/messages")
    assert (got.status, got.body) == (200, typed.sent)
    check_fields(got, wire, "claude")
    assert rig.said(got) == typed.said
    assert rig.row(got).prediction.protocol == "anthropic"


@FEWER
@given(typed=wild_typed.response_streams(), wire=wild.wires(framings=("chunked", "closing")))
def test_responses_are_the_upstreams(rig: Rig, typed: Typed, wire: Wire) -> None:
    """The stream of a response comes out to the byte, with no `[DONE]` behind it."""
    wire = wire.having(EVENTS)
    rig.upstream.script(lambda _: wire.steps(typed.sent))
    got = ask(rig, "/v1/responses")
    assert (got.status, got.body) == (200, typed.sent)
    check_fields(got, wire)
    assert rig.said(got) == typed.said


@settings(max_examples=40, deadline=None)
@given(
    typed=st.one_of(wild_typed.anthropic_streams(), wild_typed.response_streams()),
    wire=wild.wires(framings=("chunked", "closing")),
    coding=st.sampled_from(wild.CODINGS),
)
def test_encoded_events_are_the_upstreams(rig: Rig, typed: Typed, wire: Wire, coding: str) -> None:
    """Compressed, they come out compressed; the record still reads them."""
    wire = wire.having(EVENTS, ("Content-Encoding", coding))
    sent = wild.encoded(typed.sent, coding)
    rig.upstream.script(lambda _: wire.steps(sent))
    got = ask(rig, "/v1/messages" if typed.said.model_answered == "c-1" else "/v1/responses")
    assert (got.status, got.body) == (200, sent)
    assert rig.said(got) == typed.said
