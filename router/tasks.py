"""Tasks that somebody waits for."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class TaskSet:
    """Owns background tasks of one resource and ends them with it.

    The event loop keeps only weak references to tasks, and an exception nobody awaits is lost;
    here both are held until the task is done.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failures = 0

    def __len__(self) -> int:
        """Return how many tasks are running."""
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this set."""
        loop = self._loop
        if loop is None:
            # Kept: in CPython 3.11 asking for the running loop is a system call.
            loop = self._loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.failures += 1
            task.get_loop().call_exception_handler(
                {"message": f"task {task.get_name()} failed", "exception": error, "task": task}
            )

    async def wait(self, timeout_s: float) -> int:
        """Wait for all tasks; return how many were still running at the deadline."""
        if not self._tasks:
            return 0
        _, pending = await asyncio.wait(self._tasks, timeout=timeout_s)
        return len(pending)

    async def cancel(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
