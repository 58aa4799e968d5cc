"""A server for tests whose upstream is easier said in code than in a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[int]:
    """Serve on the running loop; give the port. The handler's connection is closed behind it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.append((task, writer))
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    open_: list[tuple[asyncio.Task[object], asyncio.StreamWriter]] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, writer in open_:
            task.cancel()
            # asyncio fails on one that was closed with bytes left and has sent them since.
            with suppress(AttributeError):
                writer.transport.abort()
        await asyncio.gather(*(task for task, _ in open_), return_exceptions=True)
        # A transport says that it is closed in a later turn of the loop.
        await asyncio.sleep(0.01)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return a request's head with its empty line."""
    return await reader.readuntil(b"\r\n\r\n")


class Parts:
    """A body that is not held: implements `router.upstream.BodySource`.

    Attributes
    ----------
    reads : int
        How often it was read.
    """

    def __init__(
        self,
        *parts: bytes,
        length: int | None = None,
        pause: asyncio.Event | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.length = length
        self.reads = 0
        self._parts = list(parts)
        self._pause = pause
        self._error = error

    async def read(self) -> bytes:
        """Return the next part; behind the last one wait, raise, or end, as made to."""
        self.reads += 1
        await asyncio.sleep(0)
        if self._parts:
            return self._parts.pop(0)
        if self._pause is not None:
            await self._pause.wait()
        if self._error is not None:
            raise self._error
        return b""
