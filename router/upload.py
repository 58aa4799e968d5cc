"""A request body on its way from its source to an upstream, beside the answer."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from router.errors import Reason, UpstreamFault
from router.upstream import BodySource

CONTINUE_WAIT_S = 1.0  # RFC 9110, 10.1.1: a client must not wait for ever for a 100


class Carrier(Protocol):
    """What an upload needs of its connection."""

    def write_lines(self, parts: Iterable[bytes]) -> None:
        """Send bytes, unless the connection is closed."""

    async def drain(self) -> None:
        """Wait while too much waits to be sent."""

    def break_off(self, error: BaseException) -> None:
        """Cut the connection: the rest of the request will never come."""


class Upload:
    """One body; `run` sends it, in a task of its own.

    Parameters
    ----------
    line : Carrier
    source : BodySource
    asks : bool
        Wait for a 100 first, for `CONTINUE_WAIT_S` at most.

    Attributes
    ----------
    asking : bool
        Nothing is sent yet: a 100 is waited for.
    consumed : bool
        The source was read: this request can never be sent again.
    complete : bool
        Everything was handed to the connection.
    """

    __slots__ = (
        "_answered",
        "_cancelled",
        "_line",
        "_source",
        "_task",
        "asking",
        "complete",
        "consumed",
    )

    def __init__(self, line: Carrier, source: BodySource, *, asks: bool) -> None:
        self.asking = asks
        self.consumed = False
        self.complete = False
        self._line = line
        self._source = source
        self._answered = asyncio.Event()
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None

    def started_as(self, task: asyncio.Task[None]) -> None:
        """Take note of the task that runs this, so that `cancel` can end it."""
        self._task = task

    def go_on(self) -> None:
        """Send the body now: the upstream said 100."""
        self._answered.set()

    def cancel(self) -> None:
        """Send nothing more. Idempotent."""
        if not (self.complete or self._cancelled):
            self._cancelled = True
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> None:
        """Send the whole body; an error of its source goes to who waits for the answer."""
        try:
            if self.asking:
                await self._ask()
            await self._send()
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            self._line.break_off(error)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(CONTINUE_WAIT_S):
                await self._answered.wait()
        except TimeoutError:
            # Many servers never say 100: they wait for the body.
            return
        finally:
            self.asking = False

    async def _send(self) -> None:
        length = self._source.length
        if length is None:
            await self._send_chunked()
        else:
            await self._send_sized(length)
        self.complete = True

    async def _send_sized(self, left_bytes: int) -> None:
        # The upstream may answer as soon as it has the last byte: the end is not read for.
        while left_bytes:
            part = await self._read()
            left_bytes -= len(part)
            if left_bytes < 0 or not part:
                raise _wrong_length("less" if not part else "more")
            self._line.write_lines((part,))
            self.complete = not left_bytes
            await self._line.drain()

    async def _send_chunked(self) -> None:
        while part := await self._read():
            self._line.write_lines((b"%x\r\n" % len(part), part, b"\r\n"))
            await self._line.drain()
        self._line.write_lines((b"0\r\n\r\n",))

    async def _read(self) -> bytes:
        self.consumed = True
        return await self._source.read()


def _wrong_length(how: str) -> UpstreamFault:
    return UpstreamFault(
        f"the request's body has {how} bytes than it said", reason=Reason.INVALID_REQUEST
    )
