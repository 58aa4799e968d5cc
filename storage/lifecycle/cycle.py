"""The life cycle of a data directory as one object: what housekeeping, API and CLI call."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from storage.archive.facts import FactArchive
from storage.config import RetentionConfig
from storage.database import Database
from storage.errors import StorageError
from storage.lifecycle.backup import Backup, make_backup
from storage.lifecycle.compaction import Compaction, Pause, compact
from storage.lifecycle.counters import LifeCycleStatistics
from storage.lifecycle.forecast import Forecast
from storage.lifecycle.forget import ForgetRequest, ForgetResult, forget
from storage.lifecycle.outlook import outlook
from storage.lifecycle.retention import Retention, Retired
from storage.lifecycle.sizes import DatabaseInfo, database_info
from storage.log import PredictionLog
from storage.text.archive import TextArchive

log = logging.getLogger(__name__)


class LifeCycleBusy(StorageError):
    """Something else of the life cycle is under way."""


class Parts(NamedTuple):
    """Who owns what: rows of the database, files of text, files of the archive."""

    rows: PredictionLog
    text: TextArchive
    archive: FactArchive


class Rebuild(msgspec.Struct, frozen=True):
    """What a rebuild did.

    Attributes
    ----------
    set_aside : str
        The old database file.
    predictions, forgotten : int
        Rows from the archive, and those that tombstones kept out.
    damaged : tuple of str
        Files of the archive that were skipped.
    """

    set_aside: str
    predictions: int
    forgotten: int
    damaged: tuple[str, ...]
    version: int = 1


class LifeCycle:
    """Does one thing at a time; methods block and may be called from any thread.

    Parameters
    ----------
    pause : callable
        Gives a context in which ingest and housekeeping stand still.
    """

    def __init__(
        self,
        database: Database,
        parts: Parts,
        *,
        now_us: Callable[[], int],
        pause: Pause,
    ) -> None:
        self._database = database
        self._parts = parts
        self._now_us = now_us
        self._pause = pause
        self._retention = Retention(database, parts.rows, parts.text, parts.archive)
        self._busy = threading.Lock()
        self._totals = LifeCycleStatistics()

    @property
    def spool_dir(self) -> Path:
        """The folder of the workers' segments."""
        return self._database.data_dir / "spool"

    def info(self) -> DatabaseInfo:
        """Return what the directory holds."""
        return database_info(self._database, self.spool_dir, self._now_us())

    def outlook(self, info: DatabaseInfo, retention: RetentionConfig) -> Forecast:
        """Return what it will come to."""
        return outlook(self._database, info, retention, self._now_us())

    def apply_retention(self, policy: RetentionConfig) -> Retired:
        """Remove what the policy does not keep."""
        with self._alone():
            done = self._retention.apply(policy, self._now_us())
        self._totals = msgspec.structs.replace(
            self._totals,
            retired_predictions=self._totals.retired_predictions + done.facts.predictions,
            retired_text_bytes=self._totals.retired_text_bytes + done.text.bytes,
        )
        return done

    def compact(self) -> Compaction:
        """Give disk space back.

        Raises
        ------
        DatabaseFailed
            There is no room for a copy, or it is written to all the while.
        """
        with self._alone():
            done = compact(self._database, now_us=self._now_us(), pause=self._pause)
        self._totals = msgspec.structs.replace(
            self._totals, compactions=self._totals.compactions + 1
        )
        return done

    def backup(self) -> Backup:
        """Make a backup in the folder of copies."""
        with self._alone():
            made = make_backup(self._database, self._now_us())
        self._totals = msgspec.structs.replace(self._totals, backups=self._totals.backups + 1)
        return made

    def forget(self, request: ForgetRequest) -> ForgetResult:
        """Remove users or predictions everywhere, then scrub the database file.

        Raises
        ------
        StorageError
            What was removed stays so; the same call goes on.
        """
        with self._alone():
            with self._pause():
                done = forget(
                    self._database,
                    (self._parts.text, self._parts.archive),
                    request,
                    now_us=self._now_us(),
                )
            compact(self._database, now_us=self._now_us(), pause=self._pause)
        self._totals = msgspec.structs.replace(
            self._totals,
            forgotten_predictions=self._totals.forgotten_predictions + done.predictions,
        )
        return done

    def rebuild(self) -> Rebuild:
        """Make the database anew from archive and spool; the old file stays beside the new one.

        The ingester reads what the archive does not have from the spool, at its next step.

        Raises
        ------
        StorageError
        """
        with self._alone(), self._pause():
            try:
                self._parts.archive.archive_now()
            except StorageError:
                # A file that cannot be read is a reason to rebuild it, not against it.
                log.exception("the archive could not be brought up to date before the rebuild")
            aside = self._database.rebuild()
            restored = self._parts.archive.restore_if_needed()
            self._parts.text.recover()
        if restored is None:
            return Rebuild(str(aside), 0, 0, ())
        return Rebuild(
            str(aside), restored.predictions, restored.forgotten, tuple(restored.damaged)
        )

    def statistics(self) -> LifeCycleStatistics:
        """Return totals since the object was made."""
        return self._totals

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise LifeCycleBusy(
                "a compaction, a backup, retention or a deletion is under way; try again later"
            )
        try:
            yield
        finally:
            self._busy.release()
