"""The answer on an HTTP/1.1 connection, filled by the connection and read by one task."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from router.errors import Reason, UpstreamFault
from router.upstream import Duplex, Headers


class Carrier(Protocol):
    """What an answer needs of its connection."""

    def resume(self) -> None:
        """Read on: the buffer is empty."""
        ...

    def tunnel(self) -> Duplex | None:
        """Return both directions of the connection, None when it still speaks HTTP."""
        ...

    def end_exchange(self) -> None:
        """Take note that the answer is done with, complete or not."""
        ...


class HttpResponse:
    """One answer; implements `router.upstream.UpstreamResponse` for one reader.

    Attributes
    ----------
    arrived : Future
        Done once the head is there, or never will be.
    started : bool
        True once any byte of the answer arrived.
    complete : bool
        True once the framing said that the body has ended.
    fault : BaseException or None
        Why nothing more will come.
    sink : callable or None
        Takes chunks at once, in place of the buffer: see `pump`.
    held : bool
        The sink has asked for a pause, or is being called.
    """

    __slots__ = (
        "_bodiless",
        "_carrier",
        "_chunks",
        "_loop",
        "_pumping",
        "_stop_fault",
        "_stopped",
        "_waiter",
        "arrived",
        "buffered_bytes",
        "complete",
        "fault",
        "head_complete",
        "headers",
        "held",
        "sink",
        "started",
        "status",
    )

    def __init__(
        self, carrier: Carrier, loop: asyncio.AbstractEventLoop, *, bodiless: bool
    ) -> None:
        self.status = 0
        self.headers: Headers = []
        self.arrived: asyncio.Future[None] = loop.create_future()
        self.started = False
        self.complete = False
        self.head_complete = False
        self.buffered_bytes = 0
        self.fault: BaseException | None = None
        self.sink: Callable[[bytes], bool] | None = None
        self.held = False
        self._bodiless = bodiless
        self._carrier: Carrier | None = carrier
        self._chunks: list[bytes] = []
        self._loop = loop
        self._pumping = False
        self._stopped = False
        self._stop_fault: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """Return what has arrived of the body, at least one byte; b"" at its end.

        Does not suspend when something is buffered.

        Raises
        ------
        UpstreamFault
            UPSTREAM_UNREACHABLE for a cut, UPSTREAM_INVALID for bad framing; what arrived
            before is returned first.
        BaseException
            What the source of the request's body raised.
        """
        while True:
            chunks = self._chunks
            if chunks:
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                self._emptied()
                return body
            if self.complete:
                return b""
            if self.fault is not None:
                raise self.fault
            await self._wait()

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """Hand what is buffered, then every chunk as it arrives, to a sink: `UpstreamResponse`.

        Chunks that wait are handed over from here; the next ones go straight from the parser to
        the sink, until it asks for a pause and they wait again.
        """
        self._stopped = False
        self._stop_fault = None
        self._pumping = True
        try:
            while not self._stopped:
                self._hand_over(sink)
                if not (self._chunks or self._stopped):
                    if self.complete:
                        return
                    if self.fault is not None:
                        raise self.fault
                    if not self.held:
                        self.sink = sink
                if not self._stopped:
                    await self._wait()
        finally:
            self.sink = None
            self.held = False
            self._pumping = False
        if self._stop_fault is not None:
            raise self._stop_fault

    def resume(self) -> None:
        """Go on after a sink asked for a pause."""
        self.held = False
        self._wake()

    def stop(self, fault: BaseException | None = None) -> None:
        """End a running pump."""
        if self._pumping and not self._stopped:
            self._stopped = True
            self._stop_fault = fault
            self.sink = None
            self._wake()

    def tunnel(self) -> Duplex:
        """Return both directions of the connection."""
        tunnel = self._carrier.tunnel() if self._carrier is not None else None
        if tunnel is None:
            raise UpstreamFault(
                "the upstream did not change the protocol",
                reason=Reason.UPSTREAM_INVALID,
                status=self.status,
            )
        return tunnel

    def release(self) -> None:
        """Give the connection back if the answer is complete, else close it. Idempotent."""
        carrier = self._carrier
        if carrier is None:
            return
        self._carrier = None
        if not self.complete:
            self.fail(UpstreamFault("the answer was given up", reason=Reason.UPSTREAM_UNREACHABLE))
        carrier.end_exchange()

    def fail(self, fault: BaseException) -> None:
        """End the answer with a fault, unless it has one."""
        if self.fault is None:
            self.fault = fault
        if not self.arrived.done():
            self.arrived.set_result(None)
        self._wake()

    def begin_body(self, status: int) -> None:
        """Take the status; `headers` are complete."""
        self.status = status
        self.head_complete = True
        # A length here describes the body that GET would have had (RFC 9110, 8.6).
        if self._bodiless or status in {204, 304}:
            self.complete = True
        if not self.arrived.done():
            self.arrived.set_result(None)

    def add(self, chunk: bytes) -> None:
        """Take a part of the body that no sink takes."""
        self._chunks.append(chunk)
        self.buffered_bytes += len(chunk)
        if self._waiter is not None and not self.held:
            self._wake()

    def end(self) -> None:
        """Take the end of the body."""
        self.complete = True
        if self._waiter is not None:
            self._wake()

    def ends_with_connection(self) -> bool:
        """Return True when only the end of the connection can end this body."""
        if not self.head_complete or self.complete:
            return False
        names = {name.lower(): value for name, value in self.headers}
        chunked = names.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        return not chunked and b"content-length" not in names

    def _hand_over(self, sink: Callable[[bytes], bool]) -> None:
        """Call the sink with what waits, until it asks for a pause."""
        chunks = self._chunks
        if not chunks or self.held:
            return
        taken = 0
        try:
            while taken < len(chunks) and not (self.held or self._stopped):
                chunk = chunks[taken]
                taken += 1
                self.buffered_bytes -= len(chunk)
                self.held = True
                if sink(chunk):
                    self.held = False
        finally:
            del chunks[:taken]
        if not chunks:
            self._emptied()

    def _emptied(self) -> None:
        self.buffered_bytes = 0
        if self._carrier is not None:
            self._carrier.resume()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
