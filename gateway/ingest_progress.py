"""Whether the database keeps up with the spool: for metrics, and for whoever asks how it is."""

import threading
from typing import NamedTuple

from router.clock import Clock
from storage.ingest import IngestStep

STALLED_S = 60.0
"""Without any progress for so long, something holds the ingest."""


class IngestHealth(NamedTuple):
    """The ingest at one moment.

    Attributes
    ----------
    stalled : bool
        For `STALLED_S` nothing has been read, and the end of the spool was not reached either.
    lag_s : float
        Since the end of the spool was last reached: no record that waits is older.
    lag_bytes : int
        Of the spool, not in the database as of the last step that did not fail.
    failed : str or None
        Why the last step wrote nothing.
    blocked : tuple of str
        Sources that a newer program writes.
    """

    stalled: bool
    lag_s: float
    lag_bytes: int
    failed: str | None
    blocked: tuple[str, ...]


class IngestProgress:
    """Told by the ingest thread, asked by others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._step = IngestStep()
        self._failed: str | None = None
        self._moved_s = self._level_s = clock.monotonic()

    def observe(self, step: IngestStep, *, began_s: float) -> None:
        """Take a step that began at a monotonic time."""
        with self._lock:
            self._failed = step.failed
            if step.failed is not None:
                return
            self._step = step
            if not step.more:
                self._level_s = began_s
            self._moved_s = self._clock.monotonic()

    def health(self) -> IngestHealth:
        """Say how the ingest does."""
        with self._lock:
            now_s = self._clock.monotonic()
            return IngestHealth(
                stalled=now_s - self._moved_s > STALLED_S,
                lag_s=max(0.0, now_s - self._level_s),
                lag_bytes=self._step.lag_bytes,
                failed=self._failed,
                blocked=self._step.blocked,
            )
