"""What docs/sql.md says of the tables is so, and what it shows runs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.report_log import HOUR, START, fill, known_traffic, opened

from storage.archive.facts import FactArchive
from storage.database import Database
from storage.export import Export, ExportQuery, join_parquet
from storage.reader import Window
from storage.rollups.buckets import bucket_of, value_of
from storage.sql import BoundedReader, QueryLimits, run_query

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sql.md").read_text()
SECTION = re.compile(r"^### `(\w+)`$(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+?) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_BOOKS = re.compile(r"Other tables keep the log's own books and may change: (.*?)\.", re.DOTALL)

BLOCKS = [(kind, name, text) for kind, name, text in BLOCK.findall(PAGE)]
QUERIES = [text for kind, name, text in BLOCKS if kind == "sql" and not name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill `driftgate-data` with known traffic, its archive, and an export beside it."""
    found = tmp_path_factory.mktemp("documented")
    fill(found / "driftgate-data", known_traffic())
    with opened(found / "driftgate-data") as database:
        FactArchive(database, now_us=lambda: START).archive_now()
        query = ExportQuery("predictions", Window(START, START + HOUR), "parquet")
        export = Export(database.cursor, query)
        export.prepare()
        part = export.next_slice()
        assert part is not None
        join_parquet([part], found / "month.parquet")
        export.close()
    return found


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Database]:
    """Open it as a command does."""
    found = Database.open_read_only(folder / "driftgate-data")
    yield found
    found.close()


def documented() -> dict[str, list[tuple[str, str, str]]]:
    """Return table to (column, type, what NULL means) as the page has them."""
    return {
        table: [(name, type_, null) for name, type_, _, null in ROW.findall(text)]
        for table, text in SECTION.findall(PAGE)
    }


def test_every_table_is_named(database: Database) -> None:
    """With its columns, or among the log's own books."""
    books = OWN_BOOKS.search(PAGE)
    assert books is not None
    named = {*documented(), *re.findall(r"`(\w+)`", books.group(1))}
    with database.cursor() as cursor:
        there = {name for (name,) in cursor.execute("SHOW TABLES").fetchall()}
    assert named == there


@pytest.mark.parametrize("table", sorted(documented()))
def test_columns_are_as_documented(database: Database, table: str) -> None:
    """Names, types and order; NULL has a meaning exactly where a table's column may hold it."""
    with database.cursor() as cursor:
        columns = cursor.execute(f"DESCRIBE {table}").fetchall()
        (kind,) = cursor.execute(
            "SELECT table_type FROM information_schema.tables WHERE table_name = ?", [table]
        ).fetchall()[0]
    listed = documented()[table]
    assert [(name, type_) for name, type_, _ in listed] == [(c[0], c[1]) for c in columns]
    if kind == "BASE TABLE":
        nullable = {column[0] for column in columns if column[2] == "YES"}
        assert {name for name, _, null in listed if null} == nullable


@pytest.mark.parametrize("text", QUERIES)
def test_examples_run(database: Database, text: str) -> None:
    """As a user of the endpoint would run them."""
    found = run_query(BoundedReader(database.cursor, time_s=10.0), text, QueryLimits())
    assert found.columns


def test_most_examples_find_something(database: Database) -> None:
    """An example that is wrong would mostly find nothing."""
    found = [
        run_query(BoundedReader(database.cursor, time_s=10.0), text, QueryLimits()).rows
        for text in QUERIES
    ]
    assert sum(1 for rows in found if rows) >= len(QUERIES) - 3


def test_macros_are_the_buckets(folder: Path) -> None:
    """The formula of the page is that of the roll-ups."""
    (text,) = [text for kind, name, text in BLOCKS if (kind, name) == ("sql", "macros")]
    with opened(folder / "macros") as database, database.cursor() as cursor:
        for statement in text.split(";\n")[:2]:
            cursor.execute(statement)
        for value in (0.0, 1e-9, 0.01, 1.0, 2.5, -3.0, 12345.0):
            row = cursor.execute("SELECT bucket_of(?), value_of(bucket_of(?))", [value, value])
            bucket, middle = row.fetchall()[0]
            assert bucket == bucket_of(value)
            assert middle == pytest.approx(value_of(bucket))


@pytest.mark.parametrize("name", ["database", "archive", "export"])
def test_programs_run(folder: Path, name: str) -> None:
    """In a folder with the files that they name."""
    (text,) = [text for kind, named, text in BLOCKS if (kind, named) == ("python", name)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("chat" if name != "export" else "2023-11-14 22:00") in done.stdout
