"""Relays a connection that has changed its protocol, such as a WebSocket."""

import asyncio

from gateway.exchange import Exchange
from gateway.headers import to_client
from gateway.request_log import RequestLog
from router.answer import Answer
from router.errors import Reason, UpstreamFault
from router.upstream import Duplex, Headers

CLOSE_S = 5.0
"""How long one side may go on after the other has ended."""


class _Way:
    """One direction of a tunnel, and what went through."""

    def __init__(self, source: Duplex, target: Duplex) -> None:
        self.moved_bytes = 0
        self.broken = False
        self._source = source
        self._target = target

    async def run(self) -> None:
        """Move bytes until the source ends, no faster than the target takes them."""
        try:
            while data := await self._source.read():
                self.moved_bytes += len(data)
                self._target.write(data)
                await self._target.drain()
        except UpstreamFault:
            self.broken = True


async def relay_tunnel(
    exchange: Exchange, answer: Answer, log: RequestLog, own_headers: Headers
) -> None:
    """Hand the client's connection to the upstream's and back until either ends; record it.

    It may last for hours: `timeouts.total` does not bound it, `gateway.limits.tunnel_idle` does.
    """
    record, response = log.record, answer.response
    assert response is not None
    upstream = response.tunnel()
    await log.begin()
    client = exchange.switch([*to_client(answer.headers), *own_headers])
    up, down = _Way(client, upstream), _Way(upstream, client)
    try:
        async with asyncio.TaskGroup() as group:
            ways = {group.create_task(up.run()), group.create_task(down.run())}
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            upstream.close()
            await asyncio.wait(ways, timeout=CLOSE_S)
            for way in ways:
                way.cancel()
    finally:
        fault = Reason.STREAM_INTERRUPTED if up.broken or down.broken else None
        record.request_bytes, record.response_bytes = up.moved_bytes, down.moved_bytes
        record.response_type = "application/octet-stream"
        answer.end(fault)
        # A conversation is not an upstream's working time.
        record.upstream_s = log.clock.monotonic() - record.started_s
        log.end_now(101, fault)
        client.close()
