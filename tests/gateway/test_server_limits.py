import asyncio

import pytest
from support.raw_client import echo, run, serving, until

from gateway.client_counts import ClientCounts, client_of
from gateway.connection import Connection
from gateway.server_state import OVERFLOW_OF_CLIENT

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", ""),
        ("127.8.8.8", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
    ],
)
def test_an_address_counts_for_a_client(address: str, client: str) -> None:
    """IPv6 counts by /64, mapped IPv4 as IPv4, this machine not at all."""
    assert client_of(address) == client


def test_counts_forget_clients_that_are_gone() -> None:
    """What is held does not grow with the clients that were ever there."""
    counts = ClientCounts()
    assert [counts.enter("a"), counts.enter("a"), counts.enter("b"), counts.enter("")] == [
        1,
        2,
        1,
        0,
    ]
    counts.leave("a")
    counts.leave("b")
    counts.leave("")
    assert len(counts) == 1
    assert counts.enter("a") == 2


def test_one_client_cannot_take_all_connections() -> None:
    """More than its share are told 429, many more are cut, and others are served."""

    async def scenario() -> None:
        async with serving(echo, connections_per_client=2) as served:
            shared = served.server._shared
            # As if another host held what loopback is not counted for.
            first = await served.client()
            assert (await first.ask(GET)).status == 200
            (member,) = shared.connections
            assert isinstance(member, Connection)
            member.party = "203.0.113.7"
            for _ in range(2):
                shared.clients.enter(member.party)
            assert shared.enter(member) is not None
            for _ in range(OVERFLOW_OF_CLIENT):
                shared.clients.enter(member.party)
            with pytest.raises(ConnectionRefusedError):
                shared.enter(member)
            assert (await served.ask(GET)).status == 200

    run(scenario())


def test_the_client_of_loopback_is_not_counted() -> None:
    """A proxy on this machine may hold more connections than one client."""

    async def scenario() -> None:
        async with serving(echo, connections_per_client=1) as served:
            for _ in range(3):
                assert (await served.ask(GET)).status == 200

    run(scenario())


def test_idle_connections_make_room_when_it_gets_crowded() -> None:
    """Above three quarters of `connections`, who is idle for a tenth of `keep_alive` goes."""

    async def scenario() -> None:
        async with serving(echo, connections=4, keep_alive="2s") as served:
            clients = [await served.client() for _ in range(4)]
            for client in clients[:3]:
                assert (await client.ask(GET)).status == 200
            await until(lambda: served.server.statistics().connections == 1, timeout_s=1.5)
            assert (await clients[3].ask(GET)).status == 200

    run(scenario())


def test_idle_connections_stay_when_there_is_room() -> None:
    """Below three quarters of `connections` an idle connection has all of `keep_alive`."""

    async def scenario() -> None:
        async with serving(echo, connections=8, keep_alive="2s") as served:
            client = await served.client()
            assert (await client.ask(GET)).status == 200
            await asyncio.sleep(0.7)
            assert (await client.ask(GET)).status == 200

    run(scenario())


def test_many_refused_connections_leave_nothing_behind() -> None:
    """Connections that are cut before they are told are not counted as open."""

    async def scenario() -> None:
        async with serving(echo, connections=1) as served:
            first = await served.client()
            assert (await first.ask(GET)).status == 200
            for _ in range(20):
                assert (await served.ask(GET)).status == 503
            for client in served.clients[1:]:
                await client.close()
            await until(lambda: served.server.statistics().connections == 1)
            assert (await first.ask(GET)).status == 200

    run(scenario())
