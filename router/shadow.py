"""Copies of requests that nobody waits for."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from router.tasks import TaskSet


class ShadowStatistics(NamedTuple):
    """Shadows running now, started, dropped, and ended by an error nobody expected."""

    running: int
    started: int
    dropped: int
    failed: int


class ShadowRunner:
    """Runs at most `limit` shadows of one route; the next is dropped, never queued.

    A shadow runs as a task of its own: starting one takes no await, and nothing it does or raises
    reaches the request it copies.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks = TaskSet()
        self._started = 0
        self._dropped = 0
        self._closed = False

    def try_start(
        self, factory: Callable[[], Coroutine[Any, Any, object]], *, loaded: bool = False
    ) -> bool:
        """Start a shadow; False when it was dropped.

        Parameters
        ----------
        factory : callable
            Makes the shadow's coroutine; called within its task, and not at all when dropped.
        loaded : bool
            Requests compete for this worker: shadows are the first to go.
        """
        if loaded or self._closed or len(self._tasks) >= self._limit:
            self._dropped += 1
            return False
        self._tasks.start(_run(factory))
        self._started += 1
        return True

    async def aclose(self, timeout_s: float) -> None:
        """Take no more, wait for those running, and cancel what is left at the deadline."""
        self._closed = True
        await self._tasks.wait(timeout_s)
        await self._tasks.cancel()

    def statistics(self) -> ShadowStatistics:
        """Return the counts."""
        return ShadowStatistics(
            len(self._tasks), self._started, self._dropped, self._tasks.failures
        )


async def _run(factory: Callable[[], Coroutine[Any, Any, object]]) -> None:
    await factory()
