"""The control plane's writing side: spool to database, roll-ups."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateway.ingest_progress import IngestProgress
from gateway.telemetry import Telemetry
from router.clock import Clock
from storage.database import Database
from storage.ingest import Ingester
from storage.late import LateInputs, add_late_inputs
from storage.lifecycle.cycle import LifeCycleBusy

log = logging.getLogger(__name__)

POLL_S = 1.0
"""A batch costs some 10 ms however small it is, so records wait for each other that long."""

_SWEEP_S = 60.0
_MAX_FINAL_STEPS = 10_000
_LAST_TURN_S = 10.0
_PAUSE_S = 60.0


class IngestWork:
    """One turn after the other, all in the ingest thread; `finish` waits for the last to end."""

    def __init__(
        self, database: Database, ingester: Ingester, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._database = database
        self._ingester = ingester
        self.lag_bytes = 0
        self.progress = IngestProgress(clock)
        self._telemetry = telemetry
        self._clock = clock
        self._swept_s = clock.monotonic()
        self._unreadable: set[str] = set()
        self._busy = threading.Lock()

    def turn(self) -> float:
        """Ingest a batch, now and then keep house; return the seconds to wait."""
        with self._busy:
            began_s = self._clock.monotonic()
            step = self._ingester.step()
            self.lag_bytes = step.lag_bytes
            self.progress.observe(step, began_s=began_s)
            self._telemetry.set_ingest(self._ingester.statistics())
            self._telemetry.observe_losses(step.losses)
            for loss in step.losses:
                log.error("the spool lost data: %s", loss)
            if step.failed is not None:
                log.error("the database failed and was opened anew: %s", step.failed)
            for source in set(step.unreadable) - self._unreadable:
                log.error("a segment of `%s` cannot be read; it is tried again each turn", source)
            self._unreadable = set(step.unreadable)
            # Also with a long way to catch up: what is read must not stay in two places till then.
            now_s = self._clock.monotonic()
            if now_s - self._swept_s >= _SWEEP_S:
                self._swept_s = now_s
                self._ingester.sweep()
            return 0.0 if step.more else POLL_S

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still while someone else changes the database's file."""
        if not self._busy.acquire(timeout=_PAUSE_S):
            raise LifeCycleBusy(f"the ingest did not end its turn in {_PAUSE_S:.0f} s; try again")
        try:
            yield
        finally:
            self._busy.release()

    def add_inputs(self, given: Sequence[LateInputs]) -> int:
        """Write inputs of predictions that are in the log between two turns; return of how many.

        Raises
        ------
        StorageError
            Nothing was written.
        """
        with self.paused(), self._database.cursor() as connection:
            return add_late_inputs(connection, given, now_us=self._clock.now_us())

    def finish(self) -> None:
        """Ingest the rest and put everything into the file: the workers have ended.

        A turn that outlasts the stop of its thread is waited for: two readers of one watermark
        would write the same rows twice. The next start reads what this one leaves.
        """
        if not self._busy.acquire(timeout=_LAST_TURN_S):
            log.error("the ingest has not ended its turn; the rest is left for the next start")
            return
        try:
            for _ in range(_MAX_FINAL_STEPS):
                step = self._ingester.step()
                if step.frames == 0 and not step.more:
                    break
            self._database.checkpoint()
        finally:
            self._busy.release()
