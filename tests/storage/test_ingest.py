from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from support.empty_log import open_empty_log
from support.log_records import (
    NOW,
    SECOND,
    SegmentWriter,
    begin_of,
    end_of,
    id_of,
    now_us,
    signals_of,
)

from storage import reader
from storage.database import FILE_NAME, Database
from storage.frames import FrameKind
from storage.ingest import Ingester, IngestOptions, IngestStep
from storage.records import End, Feedback, WorkerStats
from storage.tailing import BatchLimits


class Log:
    """A data directory with its database and ingester."""

    def __init__(self, data_dir: Path) -> None:
        self.spool = data_dir / "spool"
        self.seen: list[tuple[int, int]] = []
        self.database = open_empty_log(data_dir)
        self.ingester = self.make()

    def make(self, options: IngestOptions | None = None) -> Ingester:
        """Return a fresh ingester, as a restarted control plane has."""

        def on_batch(ends: Sequence[End], stats: Sequence[WorkerStats]) -> None:
            self.seen.append((len(ends), len(stats)))

        return Ingester(
            self.database,
            self.spool,
            enrich=signals_of,
            now_us=now_us,
            on_batch=on_batch,
            options=options or IngestOptions(),
        )

    def drain(self, ingester: Ingester | None = None) -> IngestStep:
        """Step until a batch has room left; return the last step."""
        step = IngestStep(more=True)
        while step.more:
            step = (ingester or self.ingester).step()
        return step

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Run a query."""
        with self.database.cursor() as cursor:
            return cursor.execute(sql).fetchall()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """Return an empty log, closed at the end."""
    log = Log(tmp_path)
    yield log
    log.database.close()


def test_a_record_reaches_every_table(log: Log) -> None:
    """Facts, attempts, features, text and roll-ups come from one frame."""
    SegmentWriter(log.spool).ends([1])
    assert log.ingester.step().records == 1
    tags = log.rows(
        "SELECT id::VARCHAR, epoch_us(started_at), tags, model_answered FROM predictions"
    )
    assert tags == [(id_of(1), NOW + 1, ["a", "b"], "m-2")]
    assert log.rows("SELECT attempt_no, status, ttft_s FROM attempts") == [(1, 200, 0.1)]
    assert log.rows("SELECT prompt_chars, language, model FROM features") == [(10, "en", "m-2")]
    with log.database.cursor() as cursor:
        found = reader.record(cursor, id_of(1))
    assert found is not None
    assert found["payload"]["response"] == "answer 1"
    assert log.rows("SELECT n, prompt_tokens, cost_nano_usd FROM rollup_counts") == [
        (1, 10, 1_000_000)
    ]
    known = "SELECT count(*), sum(n)::INTEGER FROM rollup_values WHERE bucket IS NOT NULL"
    assert log.rows(known) == [(8, 8)]


def test_frames_are_read_once(log: Log) -> None:
    """Reading on takes only what is new, also after a restart."""
    writer = SegmentWriter(log.spool)
    writer.ends(range(10))
    assert log.ingester.step().records == 10
    assert log.ingester.step() == IngestStep()
    writer.ends(range(10, 15))
    assert log.make().step().records == 5
    assert log.rows("SELECT count(*), count(DISTINCT id) FROM predictions") == [(15, 15)]


def test_batches_are_bounded(log: Log) -> None:
    """A full batch says that there is more, and several make up the whole."""
    SegmentWriter(log.spool).ends(range(25))
    ingester = log.make(IngestOptions(batch=BatchLimits(records=10)))
    first = ingester.step()
    assert (first.records, first.more) == (10, True)
    assert first.lag_bytes > 0
    assert log.drain(ingester).lag_bytes == 0
    assert log.rows("SELECT count(DISTINCT id) FROM predictions") == [(25,)]


def test_every_source_gets_its_turn(log: Log) -> None:
    """A source that fills each batch does not starve another."""
    SegmentWriter(log.spool, source="a-1-1").ends(range(100))
    SegmentWriter(log.spool, source="b-1-1").ends(range(100, 110))
    ingester = log.make(IngestOptions(batch=BatchLimits(records=10)))
    ingester.step()
    ingester.step()
    last = f"'{id_of(109)}'"
    assert log.rows(f"SELECT count(*) FROM predictions WHERE id = {last}") == [(1,)]  # noqa: S608 (our id)


def test_rotation_is_followed(log: Log) -> None:
    """A sealed segment leads to the next one, a live one is waited for."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    writer.rotate()
    writer.ends([2])
    assert log.ingester.step().records == 2
    writer.rotate()
    writer.ends([3])
    assert log.ingester.step().records == 1
    assert log.rows("SELECT segment, finished FROM watermarks") == [(2, False)]


def test_an_interrupted_request_has_its_row(log: Log) -> None:
    """A begin without an end becomes a row once its writer is gone, exactly once."""
    writer = SegmentWriter(log.spool)
    writer.write(FrameKind.BEGIN, begin_of(1))
    assert log.ingester.step().records == 0
    writer.die()
    step = log.make().step()
    assert (step.records, step.interrupted) == (1, 1)
    assert log.make().step().records == 0
    assert log.rows("SELECT status, reason FROM predictions") == [(0, "interrupted")]
    assert log.rows("SELECT latency_s FROM features") == [(None,)]
    unknown = "SELECT n FROM rollup_values WHERE measure = 'latency_s' AND bucket IS NULL"
    assert log.rows(unknown) == [(1,)]


def test_an_end_after_a_restart_closes_its_begin(log: Log) -> None:
    """A begin read before a restart is not interrupted when its end comes later."""
    writer = SegmentWriter(log.spool)
    writer.write(FrameKind.BEGIN, begin_of(1))
    log.ingester.step()
    writer.write(FrameKind.END, end_of(1))
    writer.die()
    step = log.make().step()
    assert (step.records, step.interrupted) == (1, 0)


def test_a_torn_tail_is_reported(log: Log) -> None:
    """A piece of a frame at the end of a dead writer's segment is one loss, with its size."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    writer.raw(writer.path.read_bytes()[512:540])
    assert log.ingester.step().losses == ()
    writer.die()
    losses = log.ingester.step().losses
    assert [(loss.kind, loss.bytes) for loss in losses] == [("torn", 28)]
    assert log.rows("SELECT kind, bytes FROM spool_losses") == [("torn", 28)]


def test_a_flipped_byte_costs_one_frame(log: Log) -> None:
    """Damage is skipped, counted, and what follows it is read."""
    writer = SegmentWriter(log.spool)
    for number in range(3):
        writer.write(FrameKind.END, end_of(number))
    content = bytearray(writer.path.read_bytes())
    size = (len(content) - 512) // 3
    content[512 + size + size // 2] ^= 0x01
    writer.path.write_bytes(content)
    step = log.ingester.step()
    assert step.records == 2
    assert [(loss.kind, loss.frames, loss.bytes) for loss in step.losses] == [("damaged", 1, size)]


def test_a_frame_that_is_none_is_counted(log: Log) -> None:
    """A sound frame with a foreign payload stops nothing."""
    writer = SegmentWriter(log.spool)
    writer.write(FrameKind.END, b"\xc1")
    writer.ends([1])
    step = log.ingester.step()
    assert step.records == 1
    assert [loss.kind for loss in step.losses] == ["undecodable"]


def test_a_number_no_column_takes_is_dropped(log: Log) -> None:
    """An absurd token count costs the counts of that record, not the batch."""
    writer = SegmentWriter(log.spool)
    writer.ends(range(5))
    writer.write(FrameKind.END, end_of(9, prompt_tokens=2**64 - 1))
    step = log.ingester.step()
    assert (step.records, [loss.kind for loss in step.losses]) == (6, ["trimmed"])
    query = "SELECT count(*), count(prompt_tokens) FROM predictions"
    assert log.rows(query) == [(6, 5)]


def test_a_record_no_table_takes_is_rejected(log: Log) -> None:
    """An id that is none is left out and counted; its neighbours are written."""
    writer = SegmentWriter(log.spool)
    writer.ends(range(5))
    writer.write(FrameKind.END, end_of(9, id="not-an-id"))
    step = log.ingester.step()
    assert (step.records, [loss.kind for loss in step.losses]) == (5, ["rejected"])
    assert log.make().step().records == 0


def test_feedback_is_stored(log: Log) -> None:
    """A FEEDBACK frame is a row; one about no id is a loss."""
    writer = SegmentWriter(log.spool)
    for said in (Feedback(id_of(1), NOW, "t", 0.5, "good"), Feedback("nobody", NOW, "t")):
        writer.write(FrameKind.FEEDBACK, msgspec.msgpack.encode(said))
    assert [loss.kind for loss in log.ingester.step().losses] == ["undecodable"]
    assert log.rows("SELECT prediction_id::VARCHAR, score, label FROM feedback") == [
        (id_of(1), 0.5, "good")
    ]


def test_observers_see_what_was_committed(log: Log) -> None:
    """Records and worker statistics are handed on after the commit."""
    writer = SegmentWriter(log.spool)
    writer.ends([1, 2])
    writer.write(FrameKind.STATS, WorkerStats("w0", NOW))
    log.ingester.step()
    assert log.seen == [(2, 1)]


def test_heartbeats_alone_are_not_committed_each_time(log: Log) -> None:
    """They are told at once and cost the database nothing; the next record takes them along."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    log.ingester.step()
    before = log.database.statistics().wal_bytes
    for _ in range(3):
        writer.write(FrameKind.STATS, WorkerStats("w0", NOW))
        assert log.ingester.step().lag_bytes == 0
    assert log.database.statistics().wal_bytes == before
    assert log.seen == [(1, 0), (0, 1), (0, 1), (0, 1)]
    writer.ends([2])
    log.ingester.step()
    assert log.rows("SELECT frames FROM watermarks") == [(7,)]
    assert log.make().step() == IngestStep()


def test_heartbeats_are_told_once(log: Log) -> None:
    """Read again after the file was opened anew, they would count what was counted already."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    log.ingester.step()
    writer.write(FrameKind.STATS, WorkerStats("w0", NOW))
    log.ingester.step()
    log.database.reopen()
    writer.write(FrameKind.STATS, WorkerStats("w0", NOW + SECOND))
    assert log.ingester.step().frames == 2
    assert log.seen == [(1, 0), (0, 1), (0, 1)]


def test_a_newer_source_is_kept(log: Log) -> None:
    """Segments of a newer program are not read, not removed, and named."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    writer.rotate(schema_version=99)
    writer.ends([2])
    step = log.ingester.step()
    assert (step.records, step.blocked) == (1, ("w0-1-1",))
    assert log.make(IngestOptions(grace_s=-1e12)).sweep() == 1
    assert [path.name for path in log.spool.glob("*.seg")] == ["w0-1-1-000001.seg"]


def test_a_finished_source_is_removed_after_its_grace(log: Log) -> None:
    """Segments stay for the grace period, then go together with their watermark."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    writer.rotate()
    writer.die()
    log.drain()
    assert log.make(IngestOptions(grace_s=1e12)).sweep() == 0
    assert log.make(IngestOptions(grace_s=-1e12)).sweep() == 2
    assert log.rows("SELECT * FROM watermarks") == []
    assert log.make().step() == IngestStep()


def test_many_sources_that_are_over_go_in_one_sweep(log: Log) -> None:
    """What is left of workers that died again and again is forgotten together."""
    for number in range(20):
        writer = SegmentWriter(log.spool, source=f"w0-{number:x}-1")
        writer.ends([number])
        writer.die()
    ingester = log.make(IngestOptions(grace_s=-1e9))
    log.drain(ingester)
    assert ingester.sweep() == 20
    assert log.rows("SELECT count(*) FROM watermarks") == [(0,)]


def test_a_live_segment_is_not_removed(log: Log) -> None:
    """What a worker still writes to stays, however old."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    log.drain()
    assert log.make(IngestOptions(grace_s=-1e12)).sweep() == 0
    writer.ends([2])
    assert log.ingester.step().records == 1


def test_a_damaged_database_is_rebuilt_from_the_segments(log: Log, tmp_path: Path) -> None:
    """With the file set aside, the segments that are left fill a fresh one."""
    SegmentWriter(log.spool).ends(range(20))
    log.drain()
    log.database.close()
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF
    path.write_bytes(content)
    database, aside = Database.open_or_rebuild(tmp_path, now_us=now_us)
    assert aside is not None
    log.database = database
    assert log.drain(log.make()).records == 20
    assert log.rows("SELECT sum(n)::INTEGER FROM rollup_counts") == [(20,)]


def test_a_failed_step_is_repeated(log: Log) -> None:
    """A fault of the database costs one step: the next one writes what that one did not."""
    SegmentWriter(log.spool).ends(range(3))
    log.rows("ALTER TABLE attempts RENAME TO hidden")
    failed = log.ingester.step()
    assert failed.records == 0
    assert "attempts" in str(failed.failed)
    log.rows("ALTER TABLE hidden RENAME TO attempts")
    assert log.ingester.step().records == 3
    assert log.rows("SELECT count(*) FROM predictions") == [(3,)]


@pytest.mark.parametrize("what", ["was deleted", "was overwritten"])
def test_a_file_that_somebody_removed_is_made_anew(log: Log, what: str) -> None:
    """The next step says so, and where the damaged file is; the one after reads all again."""
    SegmentWriter(log.spool).ends([1, 2, 3])
    log.drain()
    if what == "was deleted":
        log.database.path.unlink()
    else:
        log.database.path.write_bytes(bytes(100_000))
    failed = log.ingester.step().failed
    assert failed is not None
    assert what in failed
    assert ("set aside as" in failed) == (what == "was overwritten")
    assert log.ingester.step().records == 3
    assert log.rows("SELECT count(*) FROM predictions") == [(3,)]


def test_compacting_keeps_the_totals(log: Log) -> None:
    """Deltas of hours that are over are added up; nothing is lost or doubled."""
    writer = SegmentWriter(log.spool)
    for number in range(3):
        writer.write(FrameKind.END, end_of(number, started_at=NOW - 7_200 * SECOND))
        log.ingester.step()
    query = "SELECT count(*), sum(n)::INTEGER, sum(prompt_tokens)::INTEGER FROM rollup_counts"
    assert log.rows(query) == [(3, 3, 30)]
    log.ingester.sweep()
    assert log.rows(query) == [(1, 3, 30)]
    timed = "SELECT count(*), sum(n)::INTEGER FROM rollup_values WHERE measure = 'latency_s'"
    assert log.rows(timed) == [(1, 3)]
