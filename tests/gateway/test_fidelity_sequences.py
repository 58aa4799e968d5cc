"""Exchanges in a row on one connection do not touch each other."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import wild_answers as wild
from support.fake_answers import Pause, SeenRequest, Step
from support.fidelity_rig import CHAT, Rig, check_fields, request, running_rig
from support.wild_answers import Wire
from support.wild_reading import said_by_answer, said_by_stream

JSON = ("Content-Type", "application/json")
ERROR = b'{"error": {"message": "no", "type": "t", "param": null, "code": null}}'


class Turn(NamedTuple):
    """A request, what the upstream answers, and how that travels."""

    head: str
    body: bytes
    answer: bytes
    wire: Wire


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a worker and its upstream."""
    with running_rig(tmp_path_factory.mktemp("sequences")) as running:
        yield running


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    """Return an exchange of any kind."""
    kind = draw(st.sampled_from(["plain", "stream", "bytes", "refusal"]))
    head = f"POST {CHAT} HTTP/1.1\r\nContent-Type: application/json"
    body = b'{"model": "m", "messages": []}'
    if kind == "plain":
        return Turn(head, body, draw(wild.completions()), draw(wild.wires()).having(JSON))
    if kind == "refusal":
        return Turn(head, body, ERROR, draw(wild.wires((400, 404, 422))).having(JSON))
    if kind == "stream":
        asking = b'"stream": true, "stream_options": {"include_usage": true}'
        wire = draw(wild.wires(framings=("chunked", "closing")))
        events = b"".join(event.raw for event in draw(wild.streams()))
        typed = wire.having(("Content-Type", "text/event-stream"))
        return Turn(head, body[:-1] + b", " + asking + b"}", events, typed)
    wire = draw(wild.wires((200, 201, 206))).having(("Content-Type", "audio/mpeg"))
    return Turn("GET /v1/files/f/content HTTP/1.1", b"", draw(st.binary(max_size=400)), wire)


@settings(max_examples=80, deadline=None)
@given(row=st.lists(turns(), min_size=2, max_size=6), cuts=wild.CUTS, data=st.data())
def test_exchanges_in_a_row(
    rig: Rig, row: list[Turn], cuts: tuple[int, ...], data: st.DataObject
) -> None:
    """Requests sent at once are answered in turn, each as if it had come alone."""
    steps = [turn.wire.steps(turn.answer) for turn in row]
    rig.upstream.default = lambda seen: steps[int(seen.header("x-turn") or 0)]
    sent = b"".join(
        request(f"{turn.head}\r\nX-Turn: {number}", turn.body) for number, turn in enumerate(row)
    )
    pause_s = data.draw(st.sampled_from([0.0, 0.002]))
    answers = rig.send(wild.segments(sent, cuts, pause_s), [turn.head for turn in row])
    for turn, got in zip(row, answers, strict=True):
        assert (got.status, got.body) == (turn.wire.status, turn.answer)
        check_fields(got, turn.wire)
        if ("Content-Type", "text/event-stream") in turn.wire.fields:
            assert rig.said(got) == said_by_stream(turn.answer)
        elif turn.wire.status == 200 and JSON in turn.wire.fields:
            assert rig.said(got) == said_by_answer(turn.answer)
    rows = [rig.row(got).prediction for got in answers]
    assert [row.status for row in rows] == [turn.wire.status for turn in row]


@pytest.mark.parametrize("pieces", [1, 2], ids=["rest at once", "rest in two"])
def test_body_that_arrives_while_another_is_answered(rig: Rig, pieces: int) -> None:
    """The rest of a second request, come before the first is answered, stays in its order."""
    plain = Wire(200, (JSON,), "sized", (1,), (), 0.0)
    answer = b'{"object": "list", "data": []}'

    def slowly(seen: SeenRequest) -> list[Step]:
        pause_s = 0.15 if seen.header("x-turn") == "0" else 0.0
        return [Pause(pause_s), *plain.steps(answer)]

    rig.upstream.default = slowly
    rig.upstream.requests.clear()
    bodies = [b'{"of": "the first"}', b'{"of": "the second, which is longer", "n": 1234567890}']
    heads = [f"POST /v1/of_some_vendor HTTP/1.1\r\nX-Turn: {number}" for number in (0, 1)]
    sent = b"".join(request(head, body) for head, body in zip(heads, bodies, strict=True))
    cut, later = len(sent) - 40, len(sent) - 20
    steps: list[Step] = [sent[:cut], Pause(0.05)]
    if pieces == 1:
        steps.append(sent[cut:])
    else:
        # The last piece comes when the second request is the one that is read.
        steps += [sent[cut:later], Pause(0.3), sent[later:]]
    answers = rig.send(steps, heads)
    assert [got.status for got in answers] == [200, 200]
    assert [seen.body for seen in rig.upstream.requests] == bodies
