"""The life cycle of a data directory that no server holds, for the command line."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

import msgspec

from gateway.enrich import enrich
from gateway.paths import spool_dir
from storage.archive.facts import FactArchive
from storage.database import Database
from storage.errors import DatabaseFailed, DatabaseUnreadable
from storage.ingest import Ingester, IngestStep
from storage.lifecycle.cycle import LifeCycle, Parts, Rebuild
from storage.lock import WriterLock
from storage.repository import Repository
from storage.text.archive import TextArchive


def open_lifecycle(database: Database, now_us: Callable[[], int]) -> LifeCycle:
    """Return the life cycle of an opened directory; the caller holds the writer's lock."""
    archive = FactArchive(database, now_us=now_us)
    archive.restore_if_needed()
    parts = Parts(
        Repository(database),
        TextArchive(database, spool_dir(database.data_dir), now_us),
        archive,
    )
    return LifeCycle(database, parts, now_us=now_us, pause=nullcontext)


def rebuild_here(data_dir: Path, now_us: Callable[[], int]) -> Rebuild:
    """Make the database of a directory anew, whatever is left of it, and read in the spool.

    Raises
    ------
    StorageError
        Another process writes to the directory, or nothing was ever recorded in it.
    """
    if not data_dir.is_dir():
        raise DatabaseUnreadable(f"{data_dir} does not exist; see `gateway.data_dir`")
    with ExitStack() as stack:
        lock = WriterLock(data_dir)
        lock.acquire()
        stack.callback(lock.release)
        database, aside = Database.open_or_rebuild(data_dir, now_us=now_us)
        stack.callback(database.close)
        done = open_lifecycle(database, now_us).rebuild()
        ingester = Ingester(database, spool_dir(data_dir), enrich=enrich, now_us=now_us)
        step = IngestStep(more=True)
        while step.more or step.frames:
            step = ingester.step()
            if step.failed is not None:
                raise DatabaseFailed(step.failed)
    return done if aside is None else msgspec.structs.replace(done, set_aside=str(aside))
