"""Reads that may take long: few at a time, and none for whom nobody waits any more."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fastapi import Request

from gateway.api.errors import TooManyAtOnce
from router.tasks import TaskSet
from storage.sql import BoundedReader

T = TypeVar("T")


class Places:
    """How many reads of a kind may be at work; used on the event loop alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def take(self) -> None:
        """Take a place.

        Raises
        ------
        TooManyAtOnce
            None is free.
        """
        if self._taken == self._most:
            raise TooManyAtOnce(f"{self._most} of these are at work already; try again shortly")
        self._taken += 1

    def give_back(self) -> None:
        """Let the next one in."""
        self._taken -= 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place.

        Raises
        ------
        TooManyAtOnce
            None is free.
        """
        self.take()
        try:
            yield
        finally:
            self.give_back()


async def read_while_asked(request: Request, reader: BoundedReader, work: Callable[[], T]) -> T:
    """Run a read in a thread; end it when the client goes.

    Raises
    ------
    StorageError
        What the read raises.
    """
    tasks = TaskSet()
    tasks.start(_watch(request, reader))
    reading = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        reader.interrupt()
        # Its place is free only once the thread is.
        await asyncio.wait({reading})
        raise
    finally:
        await tasks.cancel()


async def _watch(request: Request, reader: BoundedReader) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    reader.interrupt()
