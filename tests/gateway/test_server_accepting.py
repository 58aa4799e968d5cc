"""A crowd at the door: connections that wait for a busy loop."""

import asyncio
import socket
from contextlib import ExitStack

import uvloop

from gateway.config import LimitsConfig
from gateway.exchange import Exchange
from gateway.server import ACCEPTS_A_TURN, Server
from router.clock import SystemClock

CROWD = 160


async def _never(exchange: Exchange) -> None:
    raise AssertionError("nobody asks for anything")


async def _turns_to_let_in(crowd: int) -> int:
    """Return in how many turns of the loop a server takes connections that wait together."""
    server = Server(_never, limits=LimitsConfig(), clock=SystemClock())
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address = listening.getsockname()
    await server.start([listening])
    with ExitStack() as stack:
        for _ in range(crowd):
            stack.enter_context(socket.create_connection(address))
        turns = 0
        while server.statistics().connections < crowd and turns < 2 * crowd:
            turns += 1
            await asyncio.sleep(0)
    await server.drain(1.0)
    return turns


def test_a_crowd_is_let_in_in_a_few_turns() -> None:
    """The production loop takes one connection a turn from a descriptor, so there are several."""
    turns = uvloop.run(_turns_to_let_in(CROWD))
    assert turns <= 2 * CROWD / ACCEPTS_A_TURN
