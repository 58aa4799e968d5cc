"""The control plane's writing side: spool to database, roll-ups, text files, retention."""

import logging
import threading

from gateway.config import Settings
from gateway.ingest_progress import IngestProgress
from gateway.telemetry import Telemetry
from router.clock import Clock
from storage.database import Database
from storage.ingest import Ingester
from storage.payloads import PayloadStore

log = logging.getLogger(__name__)

POLL_S = 0.2
_SWEEP_S = 60.0
_ARCHIVE_S = 600.0
_RETENTION_S = 3600.0
_MAX_FINAL_STEPS = 10_000
_LAST_TURN_S = 10.0


class IngestWork:
    """One turn after the other, all in the ingest thread; `finish` waits for the last to end."""

    def __init__(
        self, database: Database, ingester: Ingester, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.settings: Settings | None = None
        self._database = database
        self._ingester = ingester
        self.lag_bytes = 0
        self.progress = IngestProgress(clock)
        self._telemetry = telemetry
        self._clock = clock
        self._payloads = PayloadStore(database)
        self._swept_s = self._archived_s = clock.monotonic()
        self._retained_s = float("-inf")
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
            # Also with a long way to catch up: what is read must not stay in two places till then.
            self._keep_house()
            return 0.0 if step.more else POLL_S

    def _keep_house(self) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._swept_s >= _SWEEP_S:
            self._swept_s = now_s
            self._ingester.sweep()
        if now_s - self._archived_s >= _ARCHIVE_S:
            self._archived_s = now_s
            self._payloads.archive()
        if self.settings is not None and now_s - self._retained_s >= _RETENTION_S:
            self._retained_s = now_s
            retention = self.settings.record.retention
            self._payloads.apply_retention(
                self._clock.now_us(),
                payload_days=retention.payloads,
                prediction_days=retention.predictions,
            )

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
