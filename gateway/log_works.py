"""The prediction log as the control plane runs it: who writes it, who keeps house in it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from gateway.config import Settings
from gateway.enrich import enrich
from gateway.housekeeping import Archives, Housekeeping
from gateway.ingest_loop import IngestWork
from gateway.paths import spool_dir
from gateway.telemetry import Telemetry
from router.clock import Clock
from storage.archive.facts import FactArchive
from storage.archive.restore import fill_state, restore_state
from storage.database import Database
from storage.errors import StorageError
from storage.ingest import Ingester, IngestOptions, OnBatch
from storage.lifecycle.cycle import LifeCycle, Parts
from storage.repository import Repository
from storage.text.archive import TextArchive

log = logging.getLogger(__name__)


class LogWorks(NamedTuple):
    """One data directory's parts, composed."""

    repository: Repository
    ingest: IngestWork
    housekeeping: Housekeeping
    lifecycle: LifeCycle


def open_log_works(
    database: Database, settings: Settings, telemetry: Telemetry, clock: Clock, on_batch: OnBatch
) -> LogWorks:
    """Compose the works of an opened database; nothing runs yet.

    The small tables of a lost database come back at once, since monitors and alerts go by them,
    also when the file is set aside later; its facts come back in the next turn of the ingest.
    """
    restore_state(database)
    database.on_open = partial(fill_state, data_dir=database.data_dir)
    folder = spool_dir(database.data_dir)
    facts = FactArchive(database, now_us=clock.now_us)
    repository = Repository(database, on_state_change=lambda: _keep(facts))
    archives = Archives(TextArchive(database, folder, clock.now_us), facts)
    ingester = Ingester(
        database,
        folder,
        enrich=enrich,
        now_us=clock.now_us,
        on_batch=on_batch,
        options=IngestOptions(may_remove=archives.hold, restore=facts.restore_if_needed),
    )
    ingest = IngestWork(database, ingester, telemetry, clock)

    @contextmanager
    def paused() -> Iterator[None]:
        with housekeeping.paused(), ingest.paused():
            yield

    lifecycle = LifeCycle(
        database,
        Parts(repository, archives.text, facts),
        now_us=clock.now_us,
        pause=paused,
    )
    housekeeping = Housekeeping(archives, lifecycle, telemetry, clock, settings)
    return LogWorks(repository, ingest, housekeeping, lifecycle)


def _keep(facts: FactArchive) -> None:
    try:
        facts.save_state()
    except StorageError:
        # It is in the database, and housekeeping tries again within a second.
        log.exception("small tables could not be copied to the archive")
