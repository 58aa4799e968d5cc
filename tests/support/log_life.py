"""A data directory with all that lives in it, on a clock that the test sets."""

import os
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from support.empty_log import lay_empty_log
from support.log_records import SegmentWriter, begin_of, end_of, signals_of

from storage.archive.facts import FactArchive
from storage.config import RetentionConfig
from storage.database import Database
from storage.frames import FrameKind
from storage.ingest import Ingester, IngestOptions, IngestStep
from storage.lifecycle.cycle import LifeCycle, Parts
from storage.repository import Repository
from storage.segments import SegmentInfo
from storage.text.archive import TextArchive

DAY = 86_400_000_000


class Life:
    """Spool, database, text, archive and life cycle of one directory, in the server's order."""

    def __init__(self, data_dir: Path, now: int) -> None:
        self.data_dir = data_dir
        self.now = now
        self.writer = SegmentWriter(data_dir / "spool")
        lay_empty_log(data_dir)
        self.open()

    def open(self) -> None:
        """Open what a control plane opens."""
        self.database, _ = Database.open_or_rebuild(self.data_dir, now_us=self.now_us)
        self.archive = FactArchive(self.database, now_us=self.now_us)
        self.archive.restore_if_needed()
        self.text = TextArchive(self.database, self.data_dir / "spool", self.now_us)
        self.repository = Repository(self.database)
        self.ingester = Ingester(
            self.database,
            self.data_dir / "spool",
            enrich=signals_of,
            now_us=self.now_us,
            options=IngestOptions(
                grace_s=0.0,
                may_remove=self.may_remove,
                restore=self.archive.restore_if_needed,
            ),
        )
        parts = Parts(self.repository, self.text, self.archive)
        self.cycle = LifeCycle(self.database, parts, now_us=self.now_us, pause=nullcontext)

    def now_us(self) -> int:
        """Return the time that the test has set."""
        return self.now

    def may_remove(self, segment: SegmentInfo) -> bool:
        """Let a segment go once its facts and its text are in files."""
        behind = (segment.number + 1, 0)
        facts = self.archive.archived(segment.source)
        return facts is not None and min(facts, self.text.archived(segment.source)) >= behind

    def record(self, rows: Iterable[tuple[int, int, str]]) -> None:
        """Write records (number, start, user key) to the spool as a worker does."""
        batch = bytearray()
        for number, started_at, user_key in rows:
            self.writer._encoder.append(batch, FrameKind.BEGIN, begin_of(number))
            end = end_of(number, started_at=started_at, user_key=user_key)
            self.writer._encoder.append(batch, FrameKind.END, end)
        self.writer.raw(bytes(batch))

    def drain(self) -> None:
        """Ingest all there is, and put its text into files."""
        step = IngestStep(more=True)
        while step.more or step.frames:
            step = self.ingester.step()
            assert step.failed is None, step.failed
        while self.text.step(flush=True).rows:
            pass

    def keep_house(self, policy: RetentionConfig) -> None:
        """Do what an hour of the server does."""
        self.drain()
        self.text.step()
        self.archive.step()
        self.cycle.apply_retention(policy)
        for path in (self.data_dir / "spool").glob("*.seg"):
            os.utime(path, ns=(self.now * 1000, self.now * 1000))
        self.ingester.sweep()

    def close(self) -> None:
        """Stop, and let go of the segment."""
        self.database.close()
        self.writer.die()

    def value(self, sql: str, *values: object) -> object:
        """Return the single value that a query gives."""
        with self.database.cursor() as cursor:
            row = cursor.execute(sql, list(values)).fetchone()
        assert row is not None
        return row[0]
