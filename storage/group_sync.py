"""Brings written frames to the disk, many writers' at a time, in a thread of its own."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storage.disk import Disk
from storage.segment_file import SegmentFile


class GroupSync:
    """Runs one `fdatasync` at a time; who comes meanwhile waits for the next one together.

    Parameters
    ----------
    directory : Path
        Of the segments; synced as well when a new segment has appeared in it.
    disk : Disk
        Through which the directory is synced.
    current : callable
        Returns the segment that is written to now.
    on_failure : callable
        Called on the event loop after a sync that failed: what it covered may not be on the disk.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        current: Callable[[], SegmentFile | None],
        on_failure: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._current = current
        self._on_failure = on_failure
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool-sync")
        self._waiting: list[asyncio.Future[bool]] = []
        self._retired: list[SegmentFile] = []
        self._known: Path | None = None
        self._running = False

    def wait_for(self, futures: Sequence[asyncio.Future[bool]]) -> None:
        """Resolve futures when all that is written by now is on the disk (False: it failed)."""
        self._waiting.extend(futures)
        self._start()

    def retire(self, segment: SegmentFile) -> None:
        """Take over a segment that gets no more frames: it is closed behind the next sync."""
        self._retired.append(segment)

    def _start(self) -> None:
        if self._running or not self._waiting:
            return
        self._running = True
        waiting, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._executor, self._job())
        job.add_done_callback(lambda finished: self._done(waiting, succeeded=finished.result()))

    def _done(self, waiting: Sequence[asyncio.Future[bool]], *, succeeded: bool) -> None:
        self._running = False
        for future in waiting:
            if not future.done():
                future.set_result(succeeded)
        if not succeeded:
            self._on_failure()
        self._start()

    def _job(self) -> Callable[[], bool]:
        retired, self._retired = self._retired, []
        segment = self._current()
        steps = [_sync_and_close(old) for old in retired]
        if segment is not None:
            steps.append(segment.sync)
            if segment.path != self._known:
                path = segment.path
                steps.append(lambda: self._sync_directory(path))
        return lambda: not [step for step in steps if not _ran(step)]  # All of them run.

    def _sync_directory(self, path: Path) -> None:
        self._disk.sync_directory(self._directory)
        self._known = path  # Only now: after a failure the next sync tries again.

    def close(self) -> bool:
        """Wait for the sync that runs, then sync the rest here; False if that failed."""
        self._executor.shutdown(wait=True)
        return self._job()()


def _sync_and_close(segment: SegmentFile) -> Callable[[], None]:
    def step() -> None:
        try:
            segment.sync()
        finally:
            segment.close()

    return step


def _ran(step: Callable[[], None]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True
