"""A data directory whose spool a test writes: frames to facts to text files, with a set clock."""

from collections.abc import Iterable
from pathlib import Path

from support.log_records import NOW, SegmentWriter, end_of, signals_of

from storage.database import Database
from storage.frames import FrameKind
from storage.ingest import Ingester
from storage.records import End, Payload
from storage.text.archive import CHUNK_BYTES, TextArchive
from storage.text.layout import day_files
from storage.text.registry import TextFile, load_files


class TextLog:
    """One source's log, opened; `close` it, and open another on the same folder."""

    def __init__(
        self, data_dir: Path, *, source: str = "w0-1-1", chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self.data_dir = data_dir
        self.spool = data_dir / "spool"
        self.at_us = NOW
        self.database = Database.open(data_dir, now_us=self.now_us)
        self._source = source
        self._writer: SegmentWriter | None = None
        self._ingester = Ingester(self.database, self.spool, enrich=signals_of, now_us=self.now_us)
        self.archive = TextArchive(self.database, self.spool, self.now_us, chunk_bytes=chunk_bytes)

    def now_us(self) -> int:
        """Return the time that the test has set."""
        return self.at_us

    @property
    def writer(self) -> SegmentWriter:
        """The source's writer; the first use creates the segment."""
        if self._writer is None:
            self._writer = SegmentWriter(self.spool, source=self._source)
        return self._writer

    def write(self, ends: Iterable[End]) -> None:
        """Append records to the spool."""
        for end in ends:
            self.writer.write(FrameKind.END, end)

    def ingest(self) -> None:
        """Bring all facts into the database."""
        while self._ingester.step().more:
            pass

    def log(self, *numbers: int, **facts: object) -> None:
        """Write numbered records and bring their facts into the database."""
        self.write(end_of(number, text=True, **facts) for number in numbers)
        self.ingest()

    def flush(self) -> int:
        """Bring all text of facts to files; return how many rows there were."""
        rows = 0
        while True:
            step = self.archive.step(flush=True)
            rows += step.rows
            if not step.more:
                return rows

    def responses(self) -> list[str]:
        """Return the responses that the view shows, sorted."""
        with self.database.cursor() as cursor:
            rows = cursor.execute("SELECT response FROM payloads").fetchall()
        return sorted(row[0] for row in rows)

    def files(self) -> list[TextFile]:
        """Return the live files of the registry."""
        with self.database.cursor() as cursor:
            return load_files(cursor, "live")

    def on_disk(self) -> list[str]:
        """Return the names of the day files that are there."""
        return day_files(self.data_dir / "payloads")

    def losses(self) -> list[tuple[str, int]]:
        """Return kind and frames of what was counted as lost."""
        with self.database.cursor() as cursor:
            return cursor.execute("SELECT kind, frames FROM spool_losses").fetchall()

    def close(self) -> None:
        """Close the database and let go of the segment; twice is allowed."""
        self.database.close()
        if self._writer is not None:
            self._writer.die()
            self._writer = None


def answers(*numbers: int) -> list[str]:
    """Return the responses of numbered records, sorted."""
    return sorted(f"answer {number}" for number in numbers)


def with_text(number: int, request: str, response: str, **facts: object) -> End:
    """Return a numbered record with a text of its own."""
    end = end_of(number, text=True, **facts)
    return End(end.prediction, end.attempts, Payload(request.encode(), response.encode()))
