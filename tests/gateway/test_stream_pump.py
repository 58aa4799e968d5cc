"""Whose fault it is when a stream comes to a stop, and when it is noticed."""

import asyncio
from typing import cast

import pytest
from support.scripted_upstream import ScriptedResponse, ScriptedUpstream, Step
from support.virtual_time import LoopClock, run_virtually

from gateway.exchange import Exchange
from gateway.protocols.table import find_operation
from gateway.stream_pump import SlowClientError, StreamPump
from gateway.tap import PassTap
from gateway.write_gate import WriteGate
from router.errors import Reason, UpstreamFault

STALL = 1e6
IDLE_S = 5.0
TOTAL_S = 60.0


class Client:
    """Takes what it is sent, but nothing for so many seconds after its first bytes."""

    def __init__(self, *, stops_for_s: float) -> None:
        self.got: list[bytes] = []
        self._gate = WriteGate()
        self._stops_for_s = stops_for_s
        self.when_writable = self._gate.when_open
        self.drain = self._gate.wait

    def write(self, chunk: bytes) -> bool:
        """Take a chunk."""
        self.got.append(chunk)
        if self._stops_for_s:
            self._gate.shut = True
            asyncio.get_running_loop().call_later(self._stops_for_s, self._gate.open)
            self._stops_for_s = 0.0
        return not self._gate.shut


async def pumped(
    client: Client, *parts: bytes | float, first: bytes = b"", late_s: float = 0
) -> StreamPump:
    """Pump what an upstream sends after its first bytes, begun so late."""
    clock = LoopClock()
    tap = PassTap(find_operation("GET", "/v1/files/f/content"), 1000)
    tap.head(200, [])
    if first:
        tap.feed(first)
    pump = StreamPump(
        cast("Exchange", client),
        tap,
        clock,
        idle_s=IDLE_S,
        deadline_s=clock.monotonic() + TOTAL_S - late_s,
        keep_bytes=1000,
    )
    response = ScriptedResponse(ScriptedUpstream("a"), Step(parts))
    async with asyncio.timeout(10 * TOTAL_S):
        await pump.run(response, length=None)
    return pump


def test_client_slow_with_the_first_bytes_leaves_the_watch_on() -> None:
    """A client that takes the first bytes late is waited for; then the upstream is timed again."""

    async def main() -> None:
        client, began_s = Client(stops_for_s=20.0), LoopClock().monotonic()
        with pytest.raises(UpstreamFault, match="no content in time") as caught:
            await pumped(client, b"two", STALL, first=b"one")
        assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
        assert client.got == [b"one", b"two"]
        assert LoopClock().monotonic() - began_s == pytest.approx(20.0 + IDLE_S)

    run_virtually(main())


def test_wait_for_a_client_is_not_the_upstreams_time() -> None:
    """Also the wait for the first bytes to be taken counts as the client's."""

    async def main() -> None:
        pump = await pumped(Client(stops_for_s=20.0), b"two", 1.0, first=b"one")
        assert pump.paused_s == pytest.approx(20.0)

    run_virtually(main())


def test_client_that_never_takes_the_first_bytes_ends_the_stream() -> None:
    """The total time bounds that wait, too, and it is not the upstream's fault."""

    async def main() -> None:
        began_s = LoopClock().monotonic()
        with pytest.raises(SlowClientError):
            await pumped(Client(stops_for_s=STALL), b"two", first=b"one")
        assert LoopClock().monotonic() - began_s == pytest.approx(TOTAL_S)

    run_virtually(main())


def test_stream_that_begins_after_its_time_ends() -> None:
    """When the total time is used up before the relay begins, a stall does not last."""

    async def main() -> None:
        with pytest.raises(UpstreamFault, match="total time"):
            await pumped(Client(stops_for_s=0.0), STALL, first=b"one", late_s=TOTAL_S + 1)

    run_virtually(main())


def test_stall_after_a_pause_is_the_upstreams() -> None:
    """However long the client was waited for before, an upstream that then says nothing stalls."""

    async def main() -> None:
        with pytest.raises(UpstreamFault, match="no content in time"):
            await pumped(Client(stops_for_s=30.0), b"one", b"two", STALL)

    run_virtually(main())


def test_total_time_used_up_by_a_slow_client_is_the_clients() -> None:
    """The upstream kept sending, and most of the time went by waiting for the client."""

    async def main() -> None:
        with pytest.raises(SlowClientError):
            await pumped(Client(stops_for_s=50.0), b"one", *(4.0, b"more") * 9)

    run_virtually(main())
