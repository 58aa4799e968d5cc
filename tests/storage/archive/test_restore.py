from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from support.log_archive import ArchivedLog
from support.log_records import NOW, SECOND, SegmentWriter, begin_of, end_of, id_of

from storage.archive.catalog import STATE_CATALOG, checksum_of, load_catalog, save_catalog
from storage.archive.offline import open_offline
from storage.archive.restore import fill_state
from storage.database import FILE_NAME
from storage.errors import DatabaseCorrupt
from storage.frames import FrameKind
from storage.records import Alert, Baseline, Delivery, Feedback, Verdict
from storage.repository import Repository
from storage.times import DAY_US

CELLS: dict[str, object] = {"latency_s": {"edges": [0.1, 0.4, 0.6]}}
DAY_1 = (NOW // DAY_US) * DAY_US


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ArchivedLog]:
    """Return an empty log, closed at the end."""
    log = ArchivedLog(tmp_path)
    yield log
    log.database.close()


def feedback_on(number: int) -> Feedback:
    """Return what someone said of a numbered record."""
    return Feedback(id_of(number), NOW + number + SECOND, "default", 0.5, "good")


def write_everything(spool: SegmentWriter) -> None:
    """Write frames of every kind: answers, shadows, faults, feedback and requests cut short."""
    spool.ends(range(50))
    spool.write(FrameKind.BEGIN, begin_of(60))
    spool.write(FrameKind.END, end_of(61, role="shadow", pair_id=id_of(1), variant="b"))
    spool.write(FrameKind.END, end_of(62, status=502, reason="upstream_refused", cost_usd=None))
    spool.write(FrameKind.END, end_of(63, started_at=NOW - DAY_US, user_key="u1"))
    spool.write(FrameKind.FEEDBACK, feedback_on(3))
    spool.write(FrameKind.BEGIN, b"no record")


def write_state(log: ArchivedLog) -> None:
    """Save one of everything that monitors save."""
    repository = log.repository
    repository.save_baseline(Baseline("b", 1, NOW, NOW - 5, NOW, "chat", 10, CELLS))
    alert = Alert("a1", "drift", "chat", "x", "open", "warning", NOW, NOW, None, "s", {})
    repository.save_alerts([alert], [Delivery("d1", "a1", "e", "w", b"{}", "pending", NOW, NOW)])
    verdict = Verdict(
        "v1", NOW, "drift", "chat", "x", "numeric", "ok", "none", "psi",
        0.1, 0.0, 0.2, 0.2, 10, 10, NOW - 5, NOW, "b@1",
    )  # fmt: skip
    repository.save_verdicts([verdict])


def test_a_lost_file_comes_back_as_it_was(log: ArchivedLog) -> None:
    """Every row of every table is there again, also of requests that are still open."""
    spool = SegmentWriter(log.spool)
    write_everything(spool)
    write_state(log)
    log.drain()
    log.archive.archive_now()
    log.archive.save_state()
    before = log.dump()
    assert before["rollup_cells"]
    assert before["spool_losses"]
    log.lose_the_file()
    assert log.restored is not None
    assert log.restored.predictions == 53
    assert log.dump() == before
    spool.write(FrameKind.END, end_of(60))
    log.drain()
    assert log.rows("SELECT count(*) FROM predictions") == [(54,)]


def test_verdicts_of_an_older_file_have_defaults(log: ArchivedLog) -> None:
    """A file that lacks a column, beside one that has it, comes back with the column's default."""
    write_state(log)
    (verdict,) = log.repository.verdicts_between(0, 2 * NOW)
    later = msgspec.structs.replace(verdict, id="v2", at=NOW + DAY_US, segment="variant=a")
    log.repository.save_verdicts([later])
    spool = SegmentWriter(log.spool)
    spool.ends([1])
    log.drain()
    log.archive.archive_now()
    log.archive.save_state()
    folder = log.data_dir / "archive"
    catalog = load_catalog(folder / STATE_CATALOG)
    assert catalog is not None
    old = catalog.of("verdicts")[0]
    path = folder / old.name
    log.rows(f"COPY (FROM verdicts SELECT * EXCLUDE segment LIMIT 1) TO '{path}' (FORMAT parquet)")
    new = msgspec.structs.replace(old, bytes=path.stat().st_size, checksum=checksum_of(path))
    files = tuple(new if file == old else file for file in catalog.files)
    save_catalog(folder / STATE_CATALOG, msgspec.structs.replace(catalog, files=files))
    offline = open_offline(log.data_dir)
    shown = Repository(offline.database).verdicts_between(0, 2 * NOW)
    offline.database.close()
    log.lose_the_file()
    found = log.repository.verdicts_between(0, 2 * NOW)
    assert found == shown == [verdict, later]


def test_the_segments_have_the_rest(log: ArchivedLog) -> None:
    """What came after the export is read from the spool, once, with the same counts."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(20))
    log.drain()
    log.archive.archive_now()
    write_everything(spool)
    spool.die()
    log.drain()
    before = log.dump()
    assert len(before["predictions"]) == 74
    log.lose_the_file()
    log.drain()
    after = log.dump()
    # Another file may cut the rest into batches in another way.
    assert counts_of(after) == counts_of(before)
    log.archive.archive_now()
    log.lose_the_file()
    log.drain()
    assert counts_of(log.dump()) == counts_of(before)


def counts_of(dump: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return what does not depend on the number of batches."""
    return {name: rows for name, rows in dump.items() if name.startswith("rollup_")} | {
        name: [str(len(rows))] for name, rows in dump.items() if name != "log_state"
    }


def test_a_baseline_newer_than_the_export_is_counted(log: ArchivedLog) -> None:
    """Small tables are saved at once: after a restore the cells of a late baseline are counted."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    log.archive.archive_now()
    write_state(log)
    log.archive.save_state()
    log.lose_the_file()
    spool.ends(range(5, 9))
    log.drain()
    assert log.rows("SELECT baseline, sum(n)::INT FROM rollup_cells GROUP BY 1") == [("b@1", 9)]


def test_increments_add_up(log: ArchivedLog) -> None:
    """Each export holds the new rows alone, and a restore puts all of them together."""
    spool = SegmentWriter(log.spool)
    for first in (0, 10, 20):
        spool.ends(range(first, first + 10))
        log.drain()
        assert log.archive.archive_now().rows == 30 - 10
    assert log.archive.archive_now().rows == 0
    before = log.dump()
    log.lose_the_file()
    assert log.dump() == before


def test_a_damaged_file_is_skipped_and_reported(log: ArchivedLog) -> None:
    """The rest is restored, and `spool_losses` says what is missing."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(20))
    log.drain()
    log.archive.archive_now()
    (file,) = (log.data_dir / "archive").glob("facts/*/attempts-*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    log.lose_the_file()
    assert log.restored is not None
    assert [Path(name).name for name in log.restored.damaged] == [file.name]
    assert log.rows("SELECT count(*) FROM predictions") == [(20,)]
    assert log.rows("SELECT kind, frames FROM spool_losses") == [("archive", 20)]


def test_counts_of_a_damaged_file_are_counted_anew(log: ArchivedLog) -> None:
    """Roll-ups whose file is damaged come from the facts, and are the same."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(20))
    log.drain()
    log.archive.archive_now()
    before = log.dump()
    (file,) = (log.data_dir / "archive").glob("rollup/*/rollup_values-*.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    log.lose_the_file()
    assert log.restored is not None
    assert len(log.restored.recounted) == 1
    assert log.dump()["rollup_values"] == before["rollup_values"]
    assert log.dump()["rollup_counts"] == before["rollup_counts"]


def test_expired_days_keep_their_counts(log: ArchivedLog) -> None:
    """Facts that have expired stay away, their roll-ups come back."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(20))
    spool.write(FrameKind.END, end_of(63, started_at=NOW - 3 * DAY_US))
    log.drain()
    log.archive.archive_now()
    before = log.dump()
    dropped = log.archive.drop_before(DAY_1 - DAY_US, 0)
    assert (dropped.files, dropped.rows) == (2, 2)
    log.lose_the_file()
    assert log.rows("SELECT count(*) FROM predictions") == [(20,)]
    assert log.dump()["rollup_counts"] == before["rollup_counts"]


def test_the_forgotten_stay_forgotten(log: ArchivedLog) -> None:
    """Rows of a tombstone are in no file of the archive any more, and no restore has them."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    spool.write(FrameKind.END, end_of(63, user_key="u1"))
    log.drain()
    log.archive.archive_now()
    log.archive.archive_now()
    with log.database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO forgotten SELECT 'u1', NULL, max(started_at) + INTERVAL 1 DAY,"
            " max(started_at) FROM predictions"
        )
    # Named by its id, as a shadow of somebody's request is: the database lets go of it first.
    with log.database.cursor() as cursor:
        cursor.execute("DELETE FROM predictions WHERE id = ?", [id_of(2)])
        cursor.execute("DELETE FROM attempts WHERE prediction_id = ?", [id_of(2)])
    assert log.archive.forget(["u1"], [id_of(2)]) == 4
    files = (log.data_dir / "archive").glob("facts/*/predictions-*.parquet")
    for file in files:
        assert log.rows(f"FROM '{file}' WHERE user_key = 'u1'") == []
    log.lose_the_file()
    assert log.rows("SELECT count(*) FROM predictions") == [(4,)]
    assert log.rows("SELECT count(*) FROM attempts") == [(4,)]


def test_a_file_put_back_in_time_is_brought_forward(log: ArchivedLog) -> None:
    """A database that is older than its archive is set aside and made from the archive."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    log.database.close()
    old = (log.data_dir / FILE_NAME).read_bytes()
    log.open()
    spool.ends(range(5, 9))
    log.drain()
    log.archive.archive_now()
    before = log.dump()
    log.database.close()
    (log.data_dir / FILE_NAME).write_bytes(old)
    log.open()
    assert log.dump() == before
    assert list(log.data_dir.glob(f"{FILE_NAME}.damaged-*"))


def test_small_tables_are_there_before_anybody_writes_to_a_new_file(log: ArchivedLog) -> None:
    """A verdict or baseline of the moment after a rebuild does not keep the older ones out."""
    SegmentWriter(log.spool).ends(range(5))
    log.drain()
    write_state(log)
    log.archive.save_state()
    log.database.on_open = partial(fill_state, data_dir=log.data_dir)
    log.database.rebuild()
    assert log.rows("SELECT count(*) FROM baselines") == [(1,)]
    log.repository.save_baseline(Baseline("later", 1, NOW, NOW - SECOND, NOW, "chat", 10, {}))
    log.archive.restore_if_needed()
    assert log.rows("SELECT count(*) FROM baselines") == [(2,)]


def test_an_empty_file_does_not_empty_the_archive(log: ArchivedLog) -> None:
    """A fresh database that has not been restored yet exports nothing."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(5))
    log.drain()
    write_state(log)
    log.archive.archive_now()
    log.archive.save_state()
    log.database.rebuild()
    assert log.archive.archive_now().blocked
    assert log.archive.state.step().blocked
    log.archive.restore_if_needed()
    assert log.rows("SELECT count(*) FROM baselines") == [(1,)]
    assert log.rows("SELECT count(*) FROM predictions") == [(5,)]
    assert not log.archive.archive_now().blocked


def test_damage_that_a_reader_met_is_repaired(log: ArchivedLog) -> None:
    """A damaged block is confirmed, the file set aside and made anew."""
    spool = SegmentWriter(log.spool)
    spool.ends(range(2000))
    log.drain()
    log.archive.archive_now()
    before = log.dump()
    log.database.checkpoint()
    (block,) = log.rows(
        "SELECT max(block_id) FROM pragma_storage_info('predictions') WHERE column_name = 'id'"
    )[0]
    log.database.close()
    path = log.data_dir / FILE_NAME
    content = bytearray(path.read_bytes())
    assert isinstance(block, int)
    content[3 * 4096 + block * 262_144 + 100] ^= 0xFF
    path.write_bytes(content)
    log.open()
    with pytest.raises(DatabaseCorrupt):
        log.rows("SELECT min(id) FROM predictions")
    assert log.archive.restore_if_needed() is not None
    assert log.dump() == before


def test_a_file_damaged_since_the_export_before_costs_nothing(log: ArchivedLog) -> None:
    """The export before is whole and the segments since are there: all comes back, and goes on."""
    spool = SegmentWriter(log.spool)
    for first in (0, 10):
        spool.ends(range(first, first + 10))
        log.drain()
        log.archive.archive_now()
    newest = max((log.data_dir / "archive").glob("facts/*/predictions-*.parquet"))
    newest.write_bytes(newest.read_bytes()[:-1])
    log.lose_the_file()
    assert log.restored is not None
    assert (log.restored.predictions, log.restored.damaged) == (10, ())
    log.drain()
    assert log.rows("SELECT count(*), count(DISTINCT id) FROM predictions") == [(20, 20)]
    assert log.rows("SELECT sum(n)::BIGINT FROM rollup_counts") == [(20,)]
    assert log.archive.archive_now().rows == 20
    log.lose_the_file()
    assert log.restored is not None
    assert log.restored.predictions == 20
