"""A crowd at the door: connections that wait for a busy loop."""

import asyncio
import resource
import socket
import time
from contextlib import ExitStack
from typing import cast

import uvloop

from gateway.config import LimitsConfig
from gateway.exchange import Exchange
from gateway.listener import ACCEPTS_A_TURN, Listener
from gateway.server import Server
from router.clock import SystemClock
from router.tasks import TaskSet

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
    """All who wait are taken, where uvloop by itself takes one a turn."""
    turns = uvloop.run(_turns_to_let_in(CROWD))
    assert turns <= 4 + CROWD / ACCEPTS_A_TURN


async def _served_after_running_out() -> bytes:
    """Return what a client is told who came while there was no file descriptor for it."""
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    listener = Listener(listening, _Greeting, TaskSet())
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(listening.getsockname()) as client:
        client.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, most[1]))
        try:
            with ExitStack() as stack:
                for _ in range(client.fileno() + 1):
                    try:
                        stack.enter_context(socket.socket())
                    except OSError:
                        break
                cpu_s = time.process_time()
                await asyncio.sleep(0.3)
                assert time.process_time() - cpu_s < 0.2
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)
        said = await asyncio.wait_for(loop.sock_recv(client, 100), 5)
    listener.close()
    return said


class _Greeting(asyncio.Protocol):
    """Says something to whom it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet and go."""
        out = cast("asyncio.Transport", transport)
        out.write(b"hello")
        out.close()


def test_without_descriptors_nobody_is_accepted_for_a_while() -> None:
    """Who came then is served when there is room; meanwhile the loop does not spin."""
    assert uvloop.run(_served_after_running_out()) == b"hello"
