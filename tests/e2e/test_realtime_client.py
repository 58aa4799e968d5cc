"""Realtime conversations of the official client: the WebSocket passes through the gateway whole."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from support.spec_upstream import GOODBYE
from support.two_sides import Side, Sides, both_sides, plain
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

TEXT = "Hallo, „Welt“. " * 20
LAST = "response.done"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Run the upstream, and a gateway before it."""
    with both_sides(tmp_path_factory.mktemp("realtime")) as both:
        yield both


@pytest.fixture
def sides(running: Sides) -> Sides:
    """Return both ways to the upstream, as new."""
    running.begin()
    return running


def said(text: str) -> Any:
    """Return an item of a conversation."""
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


def converse(side: Side, model: str) -> list[Any]:
    """Hold a conversation of two turns; return every event of it."""
    seen = []
    with (
        OpenAI(base_url=f"{side.url}/v1", api_key=side.key, max_retries=0) as client,
        client.realtime.connect(model=model) as connection,
    ):
        connection.session.update(session={"type": "realtime", "instructions": TEXT})
        for number in range(2):
            connection.conversation.item.create(item=said(f"{number}: {TEXT}"))
            connection.response.create()
            seen.append(plain(connection.recv()))
            while seen[-1]["type"] != LAST:
                seen.append(plain(connection.recv()))
    return seen


async def converse_later(side: Side) -> list[Any]:
    """Hold a conversation of one turn with the client that awaits."""
    seen = []
    async with (
        AsyncOpenAI(base_url=f"{side.url}/v1", api_key=side.key, max_retries=0) as client,
        client.realtime.connect(model="gpt-spec") as connection,
    ):
        await connection.conversation.item.create(item=said(TEXT))
        await connection.response.create()
        async for event in connection:
            seen.append(plain(event))
            if event.type == LAST:
                break
    return seen


def socket_of(side: Side, key: str = "", compression: str | None = "deflate") -> ClientConnection:
    """Open a realtime WebSocket without the official client."""
    url = side.url.replace("http://", "ws://") + "/v1/realtime?model=named"
    headers = {"Authorization": f"Bearer {key or side.key}"}
    return connect(
        url,
        additional_headers=headers,
        compression=compression,
        max_size=None,
        proxy=None,
        open_timeout=10,
    )


@pytest.mark.parametrize("model", ["gpt-spec", "named"])
def test_conversation_is_the_same(sides: Sides, model: str) -> None:
    """Every event of a conversation arrives as it does without the gateway."""
    direct = converse(sides.direct, model)
    assert converse(sides.gateway, model) == direct
    assert sum(event["type"] == LAST for event in direct) == 2


def test_conversation_is_recorded(sides: Sides) -> None:
    """A conversation is one row: its model, its route, the switch of protocols."""
    events = converse(sides.gateway, "named")
    (row,) = sides.rows(1)
    facts = row.prediction
    assert (facts.operation, facts.protocol, facts.status) == ("realtime", "openai", 101)
    assert (facts.route, facts.model_asked, facts.upstream) == ("named", "named", "spec")
    assert facts.reason is None
    used = [event["response"]["usage"] for event in events if event["type"] == LAST]
    assert facts.prompt_tokens == sum(usage["input_tokens"] for usage in used)
    assert facts.response_tokens == sum(usage["output_tokens"] for usage in used)
    assert (facts.model_answered, facts.finish_reason) == ("named", "completed")
    assert facts.ttft_s is not None
    assert 0 <= facts.ttft_s <= facts.latency_s


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_facts_of_a_conversation(sides: Sides, compression: str | None) -> None:
    """The tokens are known with and without compression, whatever the message before."""
    with socket_of(sides.gateway, compression=compression) as connection:
        connection.recv(timeout=10)
        connection.send(b"\x00" * 100_000)
        connection.recv(timeout=10)
        connection.send('{"type": "response.create"}')
        while json.loads(connection.recv(timeout=10))["type"] != LAST:
            pass
        assert (connection.protocol.extensions != []) == (compression is not None)
    (row,) = sides.rows(1)
    assert row.prediction.response_tokens
    assert row.prediction.reason is None


def test_conversation_of_the_async_client(sides: Sides) -> None:
    """The client that awaits gets the same as well."""

    async def run(side: Side) -> list[Any]:
        return await asyncio.wait_for(converse_later(side), 20)

    assert asyncio.run(run(sides.gateway)) == asyncio.run(run(sides.direct))


@pytest.mark.parametrize("size", [0, 1, 126, 65_536, 3_000_000])
def test_frames_of_any_size(sides: Sides, size: int) -> None:
    """Binary messages come back as they were sent, however long."""
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with socket_of(sides.gateway) as connection:
        connection.recv(timeout=10)
        connection.send(message)
        assert connection.recv(timeout=20) == message


def test_pings_reach_the_upstream(sides: Sides) -> None:
    """A ping is answered through the gateway, while events come."""
    with socket_of(sides.gateway) as connection:
        connection.recv(timeout=10)
        assert connection.ping(b"are you there").wait(10)


def test_upstream_ends_the_conversation(sides: Sides) -> None:
    """The upstream's close code and reason are the client's; the row says success."""
    with socket_of(sides.gateway) as connection:
        connection.recv(timeout=10)
        connection.send(GOODBYE)
        with pytest.raises(ConnectionClosed) as raised:
            connection.recv(timeout=10)
    assert raised.value.rcvd is not None
    assert (raised.value.rcvd.code, raised.value.rcvd.reason) == (4001, "session over")
    (row,) = sides.rows(1)
    assert (row.prediction.status, row.prediction.reason) == (101, None)


def test_refused_conversation(sides: Sides) -> None:
    """An upstream that refuses the switch is heard: the same status, and its row."""
    statuses = []
    for side in (sides.direct, sides.gateway):
        with pytest.raises(InvalidStatus) as raised:
            socket_of(side, key="sk-wrong")
        statuses.append(raised.value.response.status_code)
    assert statuses == [403, 403]
    (row,) = sides.rows(1)
    assert (row.prediction.operation, row.prediction.status) == ("realtime", 403)


def test_conversation_with_a_key_of_the_gateway(tmp_path: Path) -> None:
    """With a key of the gateway's in place of the upstream's the conversation is the same."""
    with both_sides(tmp_path, keyed=True) as keyed:
        assert converse(keyed.gateway, "named") == converse(keyed.direct, "named")
