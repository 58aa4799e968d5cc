from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from support.log_archive import ArchivedLog
from support.log_records import NOW, SECOND, SegmentWriter, end_of

from storage.archive.catalog import (
    FACTS_CATALOG,
    STATE_CATALOG,
    Catalog,
    load_catalog,
    named_files,
    save_catalog,
)
from storage.archive.facts import FactArchive
from storage.archive.offline import open_offline
from storage.database import Database
from storage.errors import DatabaseFailed, DatabaseUnreadable
from storage.frames import FrameKind
from storage.reader import Scope, Window
from storage.records import Baseline
from storage.repository import Repository
from storage.times import DAY_US

EVER = Scope(Window(NOW - 5 * DAY_US, NOW + DAY_US))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ArchivedLog]:
    """Return an empty log, closed at the end."""
    log = ArchivedLog(tmp_path)
    yield log
    log.database.close()


def files_of(log: ArchivedLog, pattern: str) -> list[str]:
    """Return the names of the archive's files that match."""
    return sorted(path.name for path in (log.data_dir / "archive").glob(pattern))


def baseline(version: int) -> Baseline:
    """Return a baseline of this version."""
    return Baseline("b", version, NOW, NOW - SECOND, NOW, "chat", 10, {})


def test_an_export_is_due_every_ten_minutes(log: ArchivedLog) -> None:
    """In between, `step` looks after small tables alone."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    assert log.archive.step().rows == 10
    spool.ends(range(5, 9))
    log.drain()
    log.now += 599 * SECOND
    assert log.archive.step().rows == 0
    log.now += SECOND
    assert log.archive.step().rows == 8


class Meanwhile:
    """A database whose commits something else follows at once, as another thread's might."""

    def __init__(self, database: Database, then: Callable[[], None]) -> None:
        self._database, self._then = database, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Lend a connection."""
        with self._database.cursor() as cursor:
            yield _Followed(cursor, self._then)


class _Followed:
    def __init__(self, cursor: Any, then: Callable[[], None]) -> None:
        self._cursor, self._then = cursor, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def commit(self) -> None:
        self._cursor.commit()
        self._then()


def test_a_batch_beside_the_first_export_is_not_lost(log: ArchivedLog) -> None:
    """The marks of an export are of the same moment as its rows."""
    SegmentWriter(log.spool).ends(range(5))
    database = cast("Database", Meanwhile(log.database, log.drain))
    FactArchive(database, now_us=log.now_us).archive_now()
    log.lose_the_file()
    log.drain()
    assert log.rows("SELECT count(*) FROM predictions") == [(5,)]


def test_only_what_is_exported_twice_counts_as_archived(log: ArchivedLog) -> None:
    """A segment may go once no damaged catalog can make anybody ask for it again."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    assert log.archive.archived("w0-1-1") is None
    log.archive.archive_now()
    place = log.archive.archived("w0-1-1")
    assert place == (0, spool.info().size_bytes)
    spool.die()
    log.drain()
    assert log.archive.archived("w0-1-1") == place
    log.archive.archive_now()
    assert log.archive.archived("w0-1-1") == place
    log.archive.archive_now()
    assert log.archive.archived("w0-1-1") == (1, 0)


def test_a_damaged_catalog_loses_nothing(log: ArchivedLog) -> None:
    """The catalog before it and the segments that may not go yet have everything."""
    spool = SegmentWriter(log.spool)
    for first in (0, 10, 20):
        spool.ends(range(first, first + 10))
        log.drain()
        log.archive.archive_now()
    (log.data_dir / "archive" / FACTS_CATALOG).write_bytes(b"{")
    log.lose_the_file()
    assert log.restored is not None
    assert log.restored.predictions == 20
    log.drain()
    assert log.rows("SELECT count(*), count(DISTINCT id) FROM predictions") == [(30, 30)]


def test_a_restart_goes_on_where_it_was(log: ArchivedLog) -> None:
    """What is archived already is not written again by another process."""
    SegmentWriter(log.spool).ends(range(5))
    log.drain()
    log.archive.archive_now()
    again = FactArchive(log.database, now_us=log.now_us)
    assert again.archive_now().rows == 0
    assert again.statistics().rows == 10


def test_files_of_past_days_are_merged(log: ArchivedLog) -> None:
    """A day that is over becomes one file a table, and replaced files go."""
    spool = SegmentWriter(log.spool)
    for first in (0, 10, 20):
        spool.ends(range(first, first + 10))
        log.drain()
        log.archive.archive_now()
    assert len(files_of(log, "facts/*/predictions-*.parquet")) == 3
    before = log.dump()
    log.now += DAY_US
    log.archive.archive_now()
    log.archive.archive_now()
    assert len(files_of(log, "facts/*/predictions-*.parquet")) == 1
    log.lose_the_file()
    assert log.dump() == before


def test_an_export_that_fails_changes_nothing(log: ArchivedLog) -> None:
    """The archive before it stays in force, and the next export has everything."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    log.archive.archive_now()
    spool.ends(range(5, 9))
    log.drain()
    blocker = log.data_dir / "archive" / "catalog.tmp"
    blocker.mkdir()
    with pytest.raises(DatabaseFailed, match="could not be written"):
        log.archive.archive_now()
    assert log.archive.statistics().rows == 10
    named = named_files(log.data_dir / "archive" / FACTS_CATALOG)
    here = log.data_dir / "archive"
    assert {str(p.relative_to(here)) for p in here.glob("facts/*/*")} <= named
    log.now += 601 * SECOND
    with pytest.raises(DatabaseFailed):
        log.archive.step()
    blocker.rmdir()
    assert log.archive.step().rows == 0, "it waits a minute"
    log.now += 60 * SECOND
    assert log.archive.step().rows == 8


def test_a_baseline_is_on_the_disk_at_once(log: ArchivedLog) -> None:
    """Saving the state writes what has changed, and nothing when nothing has."""
    log.repository.save_baseline(baseline(1))
    log.archive.save_state()
    (first,) = files_of(log, "state/baselines-*.parquet")
    log.archive.save_state()
    assert files_of(log, "state/baselines-*.parquet") == [first]
    log.repository.save_baseline(baseline(2))
    log.archive.save_state()
    catalog = load_catalog(log.data_dir / "archive" / STATE_CATALOG)
    assert catalog is not None
    assert [file.rows for file in catalog.of("baselines")] == [2]
    log.repository.drop_baseline("chat", "b")
    log.archive.save_state()
    log.lose_the_file()
    assert log.repository.load_baselines() == []


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format":1,"crc32":1,"catalog":{}}'])
def test_a_damaged_catalog_gives_way_to_the_one_before(tmp_path: Path, damage: bytes) -> None:
    """Half a write or a flipped byte costs one generation, not the archive."""
    path = tmp_path / FACTS_CATALOG
    for generation in (1, 2, 3):
        save_catalog(path, Catalog(generation=generation))
    path.write_bytes(damage)
    found = load_catalog(path)
    assert found is not None
    assert found.generation == 2


def test_an_archive_that_nobody_can_read_is_set_aside(log: ArchivedLog) -> None:
    """Its files are kept for somebody to look at, and a new archive has everything."""
    SegmentWriter(log.spool).ends(range(5))
    log.drain()
    log.archive.archive_now()
    for path in (log.data_dir / "archive").glob("catalog*.json"):
        path.write_bytes(b"?")
    log.database.close()
    log.open()
    assert len(files_of(log, "aside-*/facts/*/*.parquet")) == 2
    assert log.archive.archive_now().rows == 10
    assert log.archive.forget(["nobody"], []) == 0
    assert files_of(log, "aside-*") == []


def test_retention_before_the_first_export_begins_no_archive(log: ArchivedLog) -> None:
    """An archive without an export stays without a catalog, which would pass for one."""
    assert log.archive.drop_before(NOW, NOW).files == 0
    assert log.archive.forget(["u1"], []) == 0
    SegmentWriter(log.spool).ends(range(5))
    log.drain()
    assert log.archive.restore_if_needed() is None
    assert log.archive.archive_now().rows == 10


def test_reading_offline_gives_the_same_counts(log: ArchivedLog) -> None:
    """The archive answers as the database does, while the database is held."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(20))
    spool.write(FrameKind.END, end_of(63, started_at=NOW - DAY_US))
    log.drain()
    log.repository.save_baseline(baseline(1))
    log.archive.archive_now()
    log.archive.save_state()
    offline = open_offline(log.data_dir)
    there = Repository(offline.database)
    assert offline.as_of_us == log.now
    assert there.counts(EVER) == log.repository.counts(EVER) != []
    assert there.counts(EVER, exact=True) == log.repository.counts(EVER, exact=True) != []
    assert there.attempts(EVER) == log.repository.attempts(EVER) != []
    assert there.load_baselines() == log.repository.load_baselines() != []
    with offline.database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM features").fetchall() == [(21,)]
    offline.database.close()


def test_files_of_an_older_schema_are_read(log: ArchivedLog) -> None:
    """What an older file does not have is unknown, and the rest is there."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    log.archive.archive_now()
    (path,) = (log.data_dir / "archive").glob("facts/*/predictions-*.parquet")
    log.rows(f"COPY (FROM predictions SELECT * EXCLUDE tool_calls) TO '{path}' (FORMAT parquet)")
    offline = open_offline(log.data_dir)
    with offline.database.cursor() as cursor:
        found = cursor.execute("SELECT count(*), count(tool_calls) FROM predictions").fetchall()
    assert found == [(5, 0)]
    offline.database.close()


def test_a_folder_without_an_archive_says_so(tmp_path: Path) -> None:
    """The message says when there will be one."""
    with pytest.raises(DatabaseUnreadable, match="within ten minutes"):
        open_offline(tmp_path)


@pytest.mark.parametrize("kind", ["facts/*/predictions", "rollup/*/rollup_values"])
def test_a_damaged_file_is_written_anew(log: ArchivedLog, kind: str) -> None:
    """An export checks files in turn, while the database still has what they held."""
    spool = SegmentWriter(log.spool)
    for first in (0, 10):
        spool.ends(range(first, first + 10))
        log.drain()
        log.archive.archive_now()
    before = log.dump()
    file = min((log.data_dir / "archive").glob(f"{kind}-*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    for _ in range(2):  # Tables of one file have a turn as well.
        log.archive.archive_now()
    log.lose_the_file()
    assert log.restored is not None
    assert (log.restored.predictions, log.restored.damaged) == (20, ())
    assert log.dump() == before
