"""Relays a connection that has changed its protocol, such as a WebSocket."""

import asyncio
from collections.abc import Callable

import msgspec

from gateway.client_call import AnyTap
from gateway.exchange import Exchange
from gateway.headers import to_client
from gateway.protocols.facts import Facts
from gateway.protocols.protocol import CONTENT, EventReader
from gateway.request_log import RequestLog
from gateway.websocket_reader import MessageReader, reader_of
from router.answer import Answer
from router.errors import Reason, UpstreamFault
from router.upstream import Duplex, Headers

CLOSE_S = 5.0
"""How long one side may go on after the other has ended."""


class _Way:
    """One direction of a tunnel, and what went through."""

    def __init__(
        self, source: Duplex, target: Duplex, look: Callable[[bytes], None] | None = None
    ) -> None:
        self.moved_bytes = 0
        self.broken = False
        self._source = source
        self._target = target
        self._look = look

    async def run(self) -> None:
        """Move bytes until the source ends, no faster than the target takes them."""
        try:
            while data := await self._source.read():
                self.moved_bytes += len(data)
                self._target.write(data)
                if self._look is not None:
                    self._look(data)
                await self._target.drain()
        except UpstreamFault:
            self.broken = True


class Onlooker:
    """Takes facts from what an upstream says in a conversation.

    Parameters
    ----------
    now_s : callable
        The monotonic clock, in seconds.

    Attributes
    ----------
    ttft_s : float or None
        From the beginning of the first answer to its first content. Who speaks when is the
        client's doing, so the time before that is nobody's delay.
    """

    def __init__(
        self,
        messages: MessageReader,
        events: EventReader,
        facts: Facts,
        now_s: Callable[[], float],
    ) -> None:
        self.ttft_s: float | None = None
        self._messages = messages
        self._events = events
        self._facts = facts
        self._now_s = now_s
        self._before_s = now_s()

    @property
    def was_cut(self) -> bool:
        """Say whether the upstream's words ended without a farewell."""
        return not (self._messages.lost or self._messages.closed)

    def look(self, data: bytes) -> None:
        """Read what goes by; messages that are no events say nothing."""
        for message in self._messages.feed(data):
            try:
                kind = self._events.read_data(message, self._facts)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if self.ttft_s is None:
                self._time(message, has_content=bool(kind & CONTENT))

    def _time(self, message: bytes, *, has_content: bool) -> None:
        if has_content:
            self.ttft_s = self._now_s() - self._before_s
        elif b'"response.created"' in message:
            self._before_s = self._now_s()


async def relay_tunnel(
    exchange: Exchange, answer: Answer, tap: AnyTap, log: RequestLog, own_headers: Headers
) -> None:
    """Hand the client's connection to the upstream's and back until either ends; record it.

    It may last for hours: `timeouts.total` does not bound it, `gateway.limits.tunnel_idle` does.
    """
    record, response = log.record, answer.response
    assert response is not None
    upstream = response.tunnel()
    await log.begin()
    client = exchange.switch([*to_client(answer.headers), *own_headers])
    onlooker = _onlooker(answer, tap, log)
    up = _Way(client, upstream)
    down = _Way(upstream, client, onlooker.look if onlooker is not None else None)
    was_cut = False
    try:
        async with asyncio.TaskGroup() as group:
            upward, downward = group.create_task(up.run()), group.create_task(down.run())
            await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
            upstream.close()
            if downward.done():
                was_cut = onlooker is not None and onlooker.was_cut and not upward.done()
            else:
                await asyncio.wait({downward}, timeout=CLOSE_S)
            upward.cancel()
            downward.cancel()
    finally:
        fault = Reason.STREAM_INTERRUPTED if up.broken or down.broken or was_cut else None
        record.request_bytes, record.response_bytes = up.moved_bytes, down.moved_bytes
        record.response_type = "application/octet-stream"
        record.facts = tap.facts
        record.ttft_s = onlooker.ttft_s if onlooker is not None else None
        answer.end(fault)
        # A conversation is not an upstream's working time.
        record.upstream_s = log.clock.monotonic() - record.started_s
        log.end_now(101, fault)
        client.close()


def _onlooker(answer: Answer, tap: AnyTap, log: RequestLog) -> Onlooker | None:
    """Return who takes facts from the upstream's words; None where they cannot be understood."""
    events, messages = tap.operation.events, reader_of(answer.headers)
    if events is None or messages is None:
        return None
    return Onlooker(messages, events(), tap.facts, log.clock.monotonic)
