"""Tables as files, slice by slice."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from support.reading_log import copies_left, take_in
from support.report_log import HOUR, START, at, fill, known_traffic, opened

from storage.database import Database
from storage.errors import QueryRefused
from storage.export import TABLES, Export, ExportQuery, cut, join_parquet
from storage.reader import Window

MINUTE = 60_000_000
HOURS = Window(START, START + HOUR)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a log with known traffic."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    fill(data_dir, known_traffic())
    return data_dir


@pytest.fixture
def database(filled: Path, tmp_path: Path) -> Iterator[Database]:
    """Open a copy of it."""
    shutil.copytree(filled, tmp_path / "data")
    with opened(tmp_path / "data") as found:
        yield found


def exported(database: Database, query: ExportQuery) -> list[bytes]:
    """Return the slices."""
    export = Export(database.cursor, query)
    try:
        export.prepare()
        return [path.read_bytes() for path in iter(export.next_slice, None)]
    finally:
        export.close()


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_has_its_columns(database: Database, table: str, tmp_path: Path) -> None:
    """Also without rows; and nothing is left in the data directory."""
    parts = exported(database, ExportQuery(table, Window(0, 1), "parquet"))
    with database.cursor() as cursor:
        names = [row[0] for row in cursor.execute(f"DESCRIBE {table}").fetchall()]
    assert pl.read_parquet(parts[0]).columns == names
    assert copies_left(tmp_path / "data") == []


def test_parquet_has_types_that_fit(database: Database) -> None:
    """Times know that they are UTC, ids are text, lists are lists."""
    (part,) = exported(database, ExportQuery("predictions", HOURS, "parquet"))
    found = pl.read_parquet(part)
    assert found.schema["started_at"] == pl.Datetime("us", "UTC")
    assert found["id"][0] == "01900000-0000-7000-8000-000000000001"
    assert found["started_at"][0] == datetime(2023, 11, 14, 22, 0, 1, tzinfo=UTC)
    assert found["tags"][0].to_list() == ["a", "b"]
    assert found["started_at"].is_sorted()


def test_csv_and_lines_tell_the_same(database: Database) -> None:
    """Unknown is empty, or null; times are ISO 8601."""
    columns = ("id", "started_at", "ttft_s", "stream", "tags")
    query = ExportQuery("predictions", HOURS, "csv", "chat", "role = 'primary'", columns)
    rows = list(csv.DictReader(io.StringIO(exported(database, query)[0].decode())))
    lines = exported(database, query._replace(form="jsonl"))[0].splitlines()
    values = [json.loads(line) for line in lines]
    assert len(rows) == len(values) == 8
    assert rows[0]["started_at"] == values[0]["started_at"] == "2023-11-14T22:00:01.000000Z"
    assert (rows[3]["ttft_s"], values[3]["ttft_s"]) == ("", None)
    assert (rows[0]["tags"], values[0]["tags"]) == ('["a","b"]', ["a", "b"])


def test_numbers_that_json_lacks_are_null(database: Database) -> None:
    """A line is JSON, whatever a client has sent as its score."""
    with database.cursor() as cursor:
        cursor.execute("UPDATE predictions SET confidence = 'nan' WHERE route = 'other'")
    query = ExportQuery("predictions", HOURS, "jsonl", where="confidence IS NOT NULL")
    lines = exported(database, query)[0].splitlines()
    assert [json.loads(line)["confidence"] for line in lines] == [None, None]


def test_slices_hold_every_row_once(database: Database, tmp_path: Path) -> None:
    """However they are cut; rows that come in meanwhile double nothing."""
    take_in(database, [at(60 * number, 1000 + number) for number in range(50)])
    export = Export(database.cursor, ExportQuery("predictions", HOURS, "parquet"), slice_rows=7)
    export.prepare()
    parts: list[Path] = []
    while (path := export.next_slice()) is not None:
        parts.append(tmp_path / f"{len(parts)}.parquet")
        parts[-1].write_bytes(path.read_bytes())
        take_in(database, [at(0.5, 2000 + len(parts))])
    export.close()
    assert len(parts) > 5
    target = tmp_path / "whole.parquet"
    join_parquet(parts, target)
    found = pl.read_parquet(target)
    assert len(found) == found["id"].n_unique() == 61
    assert found["started_at"].is_sorted()


def test_one_slice_is_the_file(database: Database, tmp_path: Path) -> None:
    """A slice that is all there is is copied, byte for byte."""
    export = Export(database.cursor, ExportQuery("predictions", HOURS, "parquet"))
    export.prepare()
    part = export.next_slice()
    assert part is not None
    join_parquet([part], tmp_path / "whole.parquet")
    assert (tmp_path / "whole.parquet").read_bytes() == part.read_bytes()
    export.close()


def test_feedback_and_text_know_their_route(database: Database) -> None:
    """They have no column of it: their predictions do."""
    query = ExportQuery("attempts", HOURS, "jsonl", route="other")
    assert len(exported(database, query)[0].splitlines()) == 2
    for table in ("feedback", "payloads"):
        assert exported(database, ExportQuery(table, HOURS, "jsonl", route="other")) == [b""]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (ExportQuery("verdicts", HOURS, "csv"), "no table `verdicts`"),
        (ExportQuery("predictions", HOURS, "csv", columns=("latncy_s",)), "`latency_s`"),
        (ExportQuery("predictions", HOURS, "csv", where="true) --"), "cannot be read"),
        (ExportQuery("attempts", HOURS, "csv", where="cost_usd > 1"), "cost_usd"),
    ],
)
def test_what_is_not_there_is_refused(database: Database, query: ExportQuery, said: str) -> None:
    """Before the first row is written."""
    with pytest.raises(QueryRefused, match=said):
        Export(database.cursor, query).prepare()


def test_a_quote_in_a_route_is_only_a_quote(database: Database) -> None:
    """Names of the configuration may hold any character."""
    query = ExportQuery("predictions", HOURS, "jsonl", route="' OR true --")
    assert exported(database, query) == [b""]


def test_a_closed_export_leaves_nothing(database: Database, tmp_path: Path) -> None:
    """The client may be gone in the middle of it."""
    export = Export(database.cursor, ExportQuery("predictions", HOURS, "csv"))
    export.prepare()
    assert export.next_slice() is not None
    export.close()
    assert copies_left(tmp_path / "data") == []
    assert export.next_slice() is None


def test_windows_are_cut_at_minutes() -> None:
    """They follow each other, cover everything, and never part a minute."""
    first = START // MINUTE
    window = Window(START + 5, START + 10 * MINUTE)
    minutes = [(first, 3), (first + 1, 3), (first + 4, 9), (first + 5, 1)]
    starts = [START + 5, START + 4 * MINUTE, START + 5 * MINUTE]
    ends = [*starts[1:], window.to_us]
    assert cut(window, minutes, 6) == [Window(a, b) for a, b in zip(starts, ends, strict=True)]
    assert cut(window, [], 6) == [window]
