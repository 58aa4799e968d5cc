"""The answer on an HTTP/1.1 connection, filled by the connection and read by one task."""

import asyncio
from typing import Protocol

from router.errors import Reason, UpstreamFault
from router.upstream import Headers


class Carrier(Protocol):
    """What an answer needs of its connection."""

    def resume(self) -> None:
        """Read on: the buffer is empty."""
        ...

    def end_exchange(self) -> None:
        """Take note that the answer is done with, complete or not."""
        ...


class HttpResponse:
    """One answer; implements `router.upstream.UpstreamResponse` for one reader.

    Attributes
    ----------
    started : bool
        True once any byte of the answer arrived.
    complete : bool
        True once the framing said that the body has ended.
    """

    __slots__ = (
        "_bodiless",
        "_carrier",
        "_chunks",
        "_fault",
        "_waiter",
        "buffered_bytes",
        "complete",
        "head_complete",
        "headers",
        "started",
        "status",
    )

    def __init__(self, carrier: Carrier, *, bodiless: bool) -> None:
        self.status = 0
        self.headers: Headers = []
        self.started = False
        self.complete = False
        self.head_complete = False
        self.buffered_bytes = 0
        self._bodiless = bodiless
        self._chunks: list[bytes] = []
        self._carrier: Carrier | None = carrier
        self._fault: UpstreamFault | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def head(self) -> None:
        """Wait until status and headers are there.

        Raises
        ------
        UpstreamFault
        """
        while not self.head_complete:
            if self._fault is not None:
                raise self._fault
            await self._wait()

    async def read(self) -> bytes:
        """Return what has arrived of the body, at least one byte; b"" at its end.

        Does not suspend when something is buffered.

        Raises
        ------
        UpstreamFault
            UPSTREAM_UNREACHABLE for a cut, UPSTREAM_INVALID for bad framing; what arrived
            before is returned first.
        """
        while True:
            chunks = self._chunks
            if chunks:
                return self._take(chunks)
            if self.complete:
                return b""
            if self._fault is not None:
                raise self._fault
            await self._wait()

    def release(self) -> None:
        """Give the connection back if the answer is complete, else close it. Idempotent."""
        carrier = self._carrier
        if carrier is None:
            return
        self._carrier = None
        if not self.complete:
            self.fail(UpstreamFault("the answer was given up", reason=Reason.UPSTREAM_UNREACHABLE))
        carrier.end_exchange()

    def fail(self, fault: UpstreamFault) -> None:
        """End the answer with a fault, unless it has one."""
        if self._fault is None:
            self._fault = fault
        self.wake()

    def begin_body(self, status: int) -> None:
        """Take the status; `headers` are complete."""
        self.status = status
        self.head_complete = True
        # A length here describes the body that GET would have had (RFC 9110, 8.6).
        if self._bodiless or status in {204, 304}:
            self.complete = True
        self.wake()

    def add(self, chunk: bytes) -> None:
        """Take a part of the body."""
        self._chunks.append(chunk)
        self.buffered_bytes += len(chunk)
        self.wake()

    def end(self) -> None:
        """Take the end of the body."""
        self.complete = True
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ends_with_connection(self) -> bool:
        """Return True when only the end of the connection can end this body."""
        if not self.head_complete or self.complete:
            return False
        names = {name.lower(): value for name, value in self.headers}
        chunked = names.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        return not chunked and b"content-length" not in names

    def _take(self, chunks: list[bytes]) -> bytes:
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered_bytes = 0
        if self._carrier is not None:
            self._carrier.resume()
        return body

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
