import base64
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

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

from storage.frames import FrameKind
from storage.ingest import Ingester, IngestOptions
from storage.lifecycle.tombstones import add_tombstones
from storage.records import End, Feedback, Signals
from storage.segments import read_frames

FROZEN = (
    "eNpzcQ8O8Pf3MZRmYGDY+3yO3jTGZeUGuoa6hgznGdgSuhnjDRgWlRucs551ip1hOAKXEe7/DCCO26qwl5H91CxrkM"
    "D8myoGhpYGIKALJsxBhAWMCwWGsNBhXJKckViyvKAoMzexqBJGL8xdll+QmpeYCZFNSU1LLM2Bqzpw4NABBgNGBgZ/"
    "/wJ9Jg6oxZPvMKjRzu4zJ07bP4B4+bT9/RiNr4f6Y07bt1Q9dF8nUg3TuiypsiCxuPgA44FDi3N1jQ4cOLCkuCS/4B"
    "CXyIEDp+0DknwvfVz557T9zpkgMOsAA8NNBYPENHMzU0NLQ7PkFBPjlBQLExOL1CQjQ8NkCwNjQ8vkSQsTFyYdODBx"
    "OiPMErjr4e44c+IA3NCpR7gKS1OLSzLz8xQMj3Ak5hWXpxYpGB46tCGxoCAnMzkRJKOfVZyfpwQMwK6PUSuZOBEBqE"
    "lUABrBnMA04AF4ABo+G5LME1PMkswNzSyNDIyNjQ0PMGEJMiaCQWYEDzIjLEGWDnS8bHb9FkYuaJDNIyq8jGH2M5OZ"
    "2B2BVq10UH7Kyg21dxppCZ1hYQk88Jek5+enHJAFsqycfLWZeaAmzgKWUnDlwCiC5e+GBiDBDcTM9m7/WXihqichlA"
    "IA8pSNLw=="
)
"""A segment as version 1 wrote it: one END without, one with fields that came later, a BEGIN."""


class Log:
    """A data directory with its database; ingesters on it are made as needed."""

    def __init__(self, data_dir: Path) -> None:
        self.spool = data_dir / "spool"
        self.at_us = NOW
        self.restored = 0
        self.database = open_empty_log(data_dir)

    def ingester(self, **options: Any) -> Ingester:
        """Return a fresh ingester, as a restarted control plane has."""
        return Ingester(
            self.database,
            self.spool,
            enrich=signals_of,
            now_us=lambda: self.at_us,
            options=IngestOptions()._replace(restore=self.restore, **options),
        )

    def restore(self) -> None:
        """Count how often the archive was asked."""
        self.restored += 1

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


def test_frames_of_older_programs_are_read(log: Log) -> None:
    """Bytes that were written once are read for ever: fields that came later are unknown."""
    log.spool.mkdir()
    (log.spool / "w0-1-1-000000.seg").write_bytes(zlib.decompress(base64.b64decode(FROZEN)))
    step = log.ingester().step()
    assert (step.records, step.interrupted, step.losses) == (3, 1, ())
    found = log.rows("SELECT id, span_id, tool_calls, reason FROM predictions ORDER BY id")
    assert found == [
        (UUID(id_of(1)), None, None, None),
        (UUID(id_of(2)), "b7ad6b7169203331", 2, None),
        (UUID(id_of(3)), None, None, "interrupted"),
    ]
    assert log.rows("SELECT score, label FROM feedback") == [(0.5, "good")]


def test_a_row_knows_its_frame(log: Log) -> None:
    """Source, segment and offset lead to the END; of an interrupted request, to its BEGIN."""
    writer = SegmentWriter(log.spool)
    writer.ends([1])
    writer.rotate()
    writer.write(FrameKind.BEGIN, begin_of(2))
    writer.ends([3])
    log.ingester().step()
    writer.die()
    ingester = log.ingester()
    while ingester.step().frames:
        pass
    places = log.rows("SELECT id, segment, byte_offset, reason FROM predictions ORDER BY id")
    for identity, segment, offset, reason in places:
        path = log.spool / f"w0-1-1-{segment:06d}.seg"
        frame = read_frames(path, int(str(offset)), limit_bytes=1).frames[0]
        assert frame.kind == (FrameKind.END if reason is None else FrameKind.BEGIN)
        assert str(identity).encode() in frame.payload
    assert [place[1] for place in places] == [0, 1, 1]


def test_batches_are_numbered(log: Log) -> None:
    """Rows of one transaction share a number in every table, and it rises, also over a restart."""
    writer = SegmentWriter(log.spool)
    for number in range(3):
        writer.ends([number])
        said = Feedback(id_of(number), NOW, "t", 1.0)
        writer.write(FrameKind.FEEDBACK, msgspec.msgpack.encode(said))
        log.ingester().step()
    for table in ("predictions", "attempts", "feedback"):
        assert log.rows(f"SELECT batch FROM {table} ORDER BY batch") == [(1,), (2,), (3,)]  # noqa: S608 (names of this line)


def test_a_number_that_is_none_is_unknown(log: Log) -> None:
    """What an upstream made of nothing must not spoil sums."""
    writer = SegmentWriter(log.spool)
    nan, infinite = float("nan"), float("inf")
    writer.write(
        FrameKind.END,
        end_of(1, confidence=nan, cost_usd=infinite, latency_s=nan, overhead_s=-infinite),
    )
    assert log.ingester().step().losses == ()
    found = log.rows("SELECT confidence, cost_usd, latency_s, overhead_s, ttft_s FROM predictions")
    assert found == [(None, None, 0.0, 0.0, 0.1)]


def test_absurd_numbers_of_an_upstream_cost_no_more_than_themselves(log: Log) -> None:
    """Every record of an upstream that counts 2**63 tokens is trimmed, told once a segment."""
    writer = SegmentWriter(log.spool)
    for number in range(2_000):
        writer.write(FrameKind.END, end_of(number, response_tokens=2**63))
    before = time.process_time()
    step = log.ingester().step()
    assert time.process_time() - before < 5.0, "one record after the other takes a minute"
    assert step.records == 2_000
    assert [(loss.kind, loss.frames) for loss in step.losses] == [("trimmed", 2_000)]
    assert log.rows("SELECT count(*), count(response_tokens) FROM predictions") == [(2_000, 0)]


def test_feedback_may_write_an_id_in_another_form(log: Log) -> None:
    """Python reads more forms of an id than the database: one of them must not stop all."""
    writer = SegmentWriter(log.spool)
    said = Feedback(f"urn:uuid:{id_of(1).upper()}", NOW, "t", 1.0)
    writer.write(FrameKind.FEEDBACK, msgspec.msgpack.encode(said))
    assert log.ingester().step().losses == ()
    assert log.rows("SELECT prediction_id FROM feedback") == [(UUID(id_of(1)),)]


def test_an_unreadable_segment_holds_its_own_source(log: Log) -> None:
    """The disk does not give one segment: other sources go on, and it is waited for."""
    SegmentWriter(log.spool, source="a-1-1").ends([1])
    (log.spool / "b-1-1-000000.seg").mkdir()
    step = log.ingester().step()
    assert (step.records, step.unreadable, step.losses) == (1, ("b-1-1",), ())


def test_an_unreadable_segment_is_passed_over_in_the_end(log: Log) -> None:
    """What follows it is read after the time of patience; it is counted as a loss."""
    (log.spool / "a-1-1-000000.seg").mkdir(parents=True)
    SegmentWriter(log.spool, source="a-1-1", number=1).ends([1])
    ingester = log.ingester(patience_s=60.0)
    assert ingester.step().records == 0
    log.at_us += 61 * SECOND
    step = ingester.step()
    assert (step.records, [loss.kind for loss in step.losses]) == (1, ["unreadable"])
    assert log.rows("SELECT kind, segment FROM spool_losses") == [("unreadable", 0)]
    assert ingester.step().unreadable == ()


def test_the_archive_says_which_segments_may_go(log: Log) -> None:
    """A segment that is old and read stays as long as something of it is in no file."""
    writer = SegmentWriter(log.spool)
    for number in range(3):
        writer.ends([number])
        writer.rotate()
    ingester = log.ingester(grace_s=-1e12, may_remove=lambda segment: segment.number < 2)
    ingester.step()
    assert ingester.sweep() == 2
    left = sorted(path.name for path in log.spool.glob("*.seg"))
    assert left == ["w0-1-1-000002.seg", "w0-1-1-000003.seg"]


def test_the_archive_is_asked_before_watermarks_are_read(log: Log) -> None:
    """Once at the start, and again when the file was opened anew by anybody."""
    ingester = log.ingester()
    ingester.step()
    ingester.step()
    assert log.restored == 1
    log.database.reopen()
    ingester.step()
    assert log.restored == 2


def test_who_was_forgotten_does_not_come_back(log: Log) -> None:
    """Frames of a forgotten user, read late or again, leave no row; younger ones do."""
    with log.database.cursor() as cursor:
        add_tombstones(cursor, ["u"], [id_of(7)], NOW + 5)
    writer = SegmentWriter(log.spool)
    for number in range(10):
        writer.write(FrameKind.END, end_of(number, user_key="u" if number != 7 else None))
    writer.write(FrameKind.FEEDBACK, msgspec.msgpack.encode(Feedback(id_of(7), NOW, "t", 1.0)))
    assert log.ingester().step().records == 4
    kept = log.rows("SELECT id, segment FROM predictions ORDER BY id")
    assert kept == [(UUID(id_of(number)), 0) for number in (5, 6, 8, 9)]
    assert log.rows("SELECT count(*) FROM feedback") == [(0,)]


def test_what_was_written_before_a_fault_is_not_written_again(log: Log) -> None:
    """A fault of our own code stops one step: the next one reads the watermarks anew."""

    class Fault(Exception):
        """Nobody expects it."""

    faults = [Fault, None, None]

    def enrich(ends: Sequence[End]) -> list[Signals]:
        if fault := faults.pop(0):
            raise fault
        return signals_of(ends)

    SegmentWriter(log.spool).ends(range(3))
    ingester = Ingester(log.database, log.spool, enrich=enrich, now_us=now_us)
    with pytest.raises(Fault):
        ingester.step()
    assert [ingester.step().records, ingester.step().records] == [3, 0]
    assert log.rows("SELECT count(*) FROM predictions") == [(3,)]


def test_a_long_write_ahead_log_is_moved_into_the_file(log: Log) -> None:
    """A checkpoint follows the batch that makes the log longer than it may be."""
    writer = SegmentWriter(log.spool)
    writer.ends(range(20))
    log.ingester(checkpoint_bytes=1 << 40).step()
    assert log.database.statistics().wal_bytes > 0
    writer.ends(range(20, 40))
    log.ingester(checkpoint_bytes=1).step()
    assert log.database.statistics().wal_bytes == 0
