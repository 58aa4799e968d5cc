"""A data directory with everything that writes to its archive, for tests."""

from pathlib import Path

from support.empty_log import lay_empty_log
from support.log_records import NOW, signals_of

from storage.archive.facts import FactArchive
from storage.database import FILE_NAME, Database
from storage.ingest import Ingester, IngestStep
from storage.repository import Repository

NOT_COMPARED = ("schema_version", "payload_files", "payloads_recent", "text_marks")


class ArchivedLog:
    """Database, ingester and archive of a folder, with a clock that the test sets."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.spool = data_dir / "spool"
        self.now = NOW
        lay_empty_log(data_dir)
        self.open()

    def open(self) -> None:
        """Open what a control plane opens, in its order."""
        self.database, self.aside = Database.open_or_rebuild(self.data_dir, now_us=self.now_us)
        self.archive = FactArchive(self.database, now_us=self.now_us)
        self.restored = self.archive.restore_if_needed()
        self.repository = Repository(self.database)
        self.ingester = Ingester(self.database, self.spool, enrich=signals_of, now_us=self.now_us)

    def lose_the_file(self) -> None:
        """Close everything, remove the database and open again."""
        self.database.close()
        for path in self.data_dir.glob(f"{FILE_NAME}*"):
            path.unlink()
        self.open()

    def now_us(self) -> int:
        """Return the time that the test has set."""
        return self.now

    def drain(self) -> None:
        """Ingest all there is."""
        step = IngestStep(more=True)
        while step.more or step.frames:
            step = self.ingester.step()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Run a query."""
        with self.database.cursor() as cursor:
            return cursor.execute(sql).fetchall()

    def dump(self) -> dict[str, list[str]]:
        """Return every row of every table as text, sorted; counters but for the batch number."""
        tables = [str(name) for (name,) in self.rows("SELECT table_name FROM duckdb_tables()")]
        return {
            table: sorted(map(repr, self.rows(f'SELECT * FROM "{table}"')))  # noqa: S608 (a name of the database)
            for table in tables
            if table not in NOT_COMPARED
        }
