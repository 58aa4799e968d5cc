"""Between ingest, which must not wait, and an exporter, which may wait for a network."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from storage.records import Attempt, Prediction

MAX_QUEUED = 8_192
BATCH = 256
EVERY_S = 1.0
CLOSE_S = 5.0

Traced = tuple[Prediction, tuple[Attempt, ...]]
"""What of a record becomes spans: no bodies, which would make the queue's bytes unbounded."""


class TraceStatistics(NamedTuple):
    """What the queue did since it was made: records queued now, exported, failed, dropped."""

    queued: int
    exported: int
    failed: int
    dropped: int


class TraceQueue:
    """A bounded queue and the thread that empties it; the oldest are dropped when it is full.

    Parameters
    ----------
    export : callable
        Sends a batch and returns whether it was taken; may block, must not raise.
    """

    def __init__(
        self, export: Callable[[Sequence[Traced]], bool], *, max_queued: int = MAX_QUEUED
    ) -> None:
        self._export = export
        self._queue: deque[Traced] = deque(maxlen=max_queued)
        self._changed = threading.Condition()
        self._closing = False
        self._exported = self._failed = self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Traced]) -> None:
        """Queue records; never waits for an export."""
        with self._changed:
            room = (self._queue.maxlen or 0) - len(self._queue)
            self._dropped += max(0, len(records) - room)
            self._queue.extend(records)
            if len(self._queue) >= BATCH:
                self._changed.notify()

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Send what is queued; return whether the thread ended in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def statistics(self) -> TraceStatistics:
        """Return counts of records since the start."""
        with self._changed:
            return TraceStatistics(len(self._queue), self._exported, self._failed, self._dropped)

    def _run(self) -> None:
        while True:
            with self._changed:
                if len(self._queue) < BATCH and not self._closing:
                    self._changed.wait(EVERY_S)
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                if self._closing and not batch:
                    return
            if batch:
                self._count(len(batch), taken=self._export(batch))

    def _count(self, records: int, *, taken: bool) -> None:
        with self._changed:
            if taken:
                self._exported += records
            else:
                self._failed += records
