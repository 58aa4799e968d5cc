"""The control plane's slow writing side: files of text, the archive, retention.

Each of these may take seconds, so they have a thread of their own beside the ingest.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.config import Settings
from gateway.telemetry import Telemetry
from router.clock import Clock
from storage.archive.facts import FactArchive
from storage.errors import StorageError
from storage.lifecycle.cycle import LifeCycle, LifeCycleBusy
from storage.segments import SegmentInfo
from storage.text.archive import TextArchive

log = logging.getLogger(__name__)

POLL_S = 1.0
_LAGS_EVERY_S = 15.0
_RETENTION_EVERY_S = 3600.0
_MAX_FINAL_STEPS = 1_000
_PAUSE_S = 60.0


class Archives:
    """What is kept of the spool outside of the database: text and facts.

    Attributes
    ----------
    text, facts : TextArchive, FactArchive
    """

    def __init__(self, text: TextArchive, facts: FactArchive) -> None:
        self.text = text
        self.facts = facts

    def hold(self, segment: SegmentInfo) -> bool:
        """Say whether a segment that the database has read is in both of them, whole."""
        behind = (segment.number, segment.size_bytes)
        facts = self.facts.archived(segment.source)
        return (
            facts is not None and facts >= behind and self.text.archived(segment.source) >= behind
        )


class Housekeeping:
    """One turn after the other, all in the housekeeping thread.

    Parameters
    ----------
    settings : Settings
        Replaced by `reconfigure` at a reload.
    """

    def __init__(
        self,
        archives: Archives,
        lifecycle: LifeCycle,
        telemetry: Telemetry,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._archives = archives
        self._lifecycle = lifecycle
        self._telemetry = telemetry
        self._clock = clock
        self._settings = settings
        self._busy = threading.Lock()
        self._level_s = clock.monotonic()
        self._lags_at_s = self._retained_s = float("-inf")

    def reconfigure(self, settings: Settings) -> None:
        """Take the retention of another configuration."""
        self._settings = settings

    def turn(self) -> float:
        """Do what is due; return the seconds to wait."""
        with self._busy:
            more = self._archives.text.step().more
            self._archives.facts.step()
            now_s = self._clock.monotonic()
            if now_s - self._lags_at_s >= _LAGS_EVERY_S:
                self._lags_at_s = now_s
                self._tell_lags(now_s)
            if now_s - self._retained_s >= _RETENTION_EVERY_S:
                self._retain(now_s)
        return 0.0 if more else POLL_S

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still while someone else changes the files."""
        if not self._busy.acquire(timeout=_PAUSE_S):
            raise LifeCycleBusy(f"housekeeping did not end its turn in {_PAUSE_S:.0f} s; try again")
        try:
            yield
        finally:
            self._busy.release()

    def finish(self) -> None:
        """Bring the last text to files: the ingest has read all there is."""
        try:
            with self.paused():
                for _ in range(_MAX_FINAL_STEPS):
                    if not self._archives.text.step(flush=True).more:
                        break
                self._archives.facts.save_state()
        except StorageError as error:
            log.error("the last text stays in the spool until the next start: %s", error)  # noqa: TRY400  (no fault of this program)

    def _tell_lags(self, now_s: float) -> None:
        if self._archives.text.statistics().unarchived_bytes == 0:
            self._level_s = now_s
        written_at = self._archives.facts.statistics().written_at
        self._telemetry.set_archives(
            text_lag_s=now_s - self._level_s,
            facts_lag_s=(self._clock.now_us() - written_at) / 1e6 if written_at else 0.0,
        )

    def _retain(self, now_s: float) -> None:
        try:
            self._lifecycle.apply_retention(self._settings.record.retention)
        except LifeCycleBusy:
            return  # The next turn tries again.
        self._retained_s = now_s
