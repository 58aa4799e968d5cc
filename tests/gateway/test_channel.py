import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channel import Channel

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


async def pair() -> tuple[Channel, Channel]:
    """Return both ends."""
    ours, theirs = socket.socketpair()
    return await Channel.open(ours), await Channel.open(theirs)


@given(st.lists(json_values, max_size=5))
def test_messages_arrive_in_order_as_they_were(values: list[object]) -> None:
    """Any JSON value arrives whole, line breaks in texts and all, in the order it was sent."""

    async def exchange() -> list[object]:
        one, other = await pair()
        for value in values:
            one.send("value", value=value)
        await one.aclose()
        found = [message["value"] async for message in other.messages()]
        await other.aclose()
        return found

    assert asyncio.run(exchange()) == values


def test_end_of_file_ends_the_messages() -> None:
    """When the peer has gone there are no more messages, and none is waited for."""

    async def exchange() -> dict[str, object] | None:
        one, other = await pair()
        await one.aclose()
        found = await other.receive()
        await other.aclose()
        return found

    assert asyncio.run(exchange()) is None


def test_half_a_message_is_none() -> None:
    """What a dying peer wrote of a message is dropped."""

    async def exchange() -> list[dict[str, object]]:
        ours, theirs = socket.socketpair()
        channel = await Channel.open(ours)
        with theirs:
            theirs.sendall(b'{"kind":"a"}\n{"kind":"b"')
        found = [message async for message in channel.messages()]
        await channel.aclose()
        return found

    assert asyncio.run(exchange()) == [{"kind": "a"}]


def test_sending_to_a_peer_that_has_gone_is_harmless() -> None:
    """A message to a dead peer is dropped, also once the end is closed."""

    async def exchange() -> None:
        one, other = await pair()
        await other.aclose()
        for _ in range(3):
            one.send("x")
            await asyncio.sleep(0.01)
        await one.aclose()
        one.send("x")

    asyncio.run(exchange())


@pytest.mark.parametrize("size", [1_000_000, 8_000_000])
def test_large_configurations_pass(size: int) -> None:
    """A configuration of megabytes is one message."""

    async def exchange() -> int:
        one, other = await pair()
        one.send("settings", text="x" * size)
        found = await other.receive()
        await asyncio.gather(one.aclose(), other.aclose())
        assert found is not None
        return len(found["text"])

    assert asyncio.run(exchange()) == size
