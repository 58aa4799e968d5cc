import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

from storage.training import TrainingInvalid, open_training

ROWS = (
    "SELECT i AS age, i % 3 = 0 AS active, CASE WHEN i % 2 = 0 THEN 'pro' ELSE 'basic' END AS plan,"
    " i::DECIMAL(9, 2) AS paid, TIMESTAMP '2026-11-01' + INTERVAL 1 HOUR * i AS seen,"
    " [i] AS listed, {'a': i} AS nested, NULL::DOUBLE AS nothing FROM range(12) r(i)"
)


@pytest.fixture
def zone_of_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return what moves this process to another time zone, until the test ends."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Return a file with every kind of column, under a name that DuckDB would take for a glob."""
    path = tmp_path / "train [v1]*'s.parquet"
    with duckdb.connect() as connection:
        relation = connection.sql(ROWS)
        relation.write_parquet(str(tmp_path / "plain.parquet"))
    (tmp_path / "plain.parquet").rename(path)
    return path


def test_columns_are_read_in_the_files_order(parquet: Path) -> None:
    """Numbers, words, flags and times; what is neither is named so."""
    with open_training(parquet) as file:
        assert file.rows == 12
        assert file.columns == {
            "age": "number",
            "active": "words",
            "plan": "words",
            "paid": "number",
            "seen": "time",
            "listed": "other",
            "nested": "other",
            "nothing": "number",
        }
        assert file.numbers("age").tolist() == list(range(12))
        assert np.isnan(file.numbers("nothing")).all()
        assert file.table("active") == {"true": 4, "false": 8}
        assert file.places("plan", ["pro"]).tolist() == [0, 1] * 6
        assert np.diff(file.times("seen")).tolist() == [3_600_000_000] * 11


def test_a_csv_says_what_its_columns_are_by_all_of_its_rows(tmp_path: Path) -> None:
    """A text in the last row makes a column one of text; names keep their quotes."""
    path = tmp_path / "train.csv"
    lines = ['a"b,n,mixed', *(f"{i},{i}.5,{i}" for i in range(30_000)), "7,,word"]
    path.write_text('"a""b",n,mixed\n' + "\n".join(lines[1:]) + "\n")
    with open_training(path) as file:
        assert file.columns == {'a"b': "number", "n": "number", "mixed": "words"}
        assert file.numbers('a"b')[-1] == 7.0
        assert np.isnan(file.numbers("n")[-1])
        assert file.places("mixed", ["word"])[-1] == 0


def absent(path: Path) -> None:
    """Leave no file."""


def empty(path: Path) -> None:
    """Leave a file of no bytes."""
    path.write_bytes(b"")


def header(path: Path) -> None:
    """Leave names alone."""
    path.write_text("age,plan\n")


def noise(path: Path) -> None:
    """Leave bytes that are no Parquet."""
    path.write_bytes(bytes(range(256)) * 40)


def folder(path: Path) -> None:
    """Leave a folder of that name."""
    path.mkdir()


@pytest.mark.parametrize(
    ("leave", "name", "said"),
    [
        (absent, "train.parquet", "there is no file"),
        (folder, "train.parquet", "there is no file"),
        (empty, "train.parquet", "cannot be read"),
        (noise, "train.parquet", "cannot be read"),
        (empty, "train.csv", "has no rows"),
        (header, "train.csv", "has no rows"),
        (noise, "train.xlsx", "is none of .parquet"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, leave: Callable[[Path], None], name: str, said: str
) -> None:
    """With what to do about it."""
    leave(tmp_path / name)
    with pytest.raises(TrainingInvalid, match=said), open_training(tmp_path / name):
        pass


def test_times_with_a_zone_are_moments(
    tmp_path: Path, zone_of_machine: Callable[[str], None]
) -> None:
    """Wherever the machine stands that reads them; without a zone they are UTC."""
    path = tmp_path / "train.parquet"
    with duckdb.connect() as connection:
        connection.sql(
            "SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' AS here, TIMESTAMP '2026-01-01' AS bare"
        ).write_parquet(str(path))
    zone_of_machine("America/New_York")
    with open_training(path) as file:
        assert file.times("here").tolist() == file.times("bare").tolist() == [1_767_225_600_000_000]


def test_times_that_lack_are_told(tmp_path: Path) -> None:
    """Rows without a time have no place in a week."""
    path = tmp_path / "train.csv"
    path.write_text("seen\n2026-11-01\n\n2026-11-02\n,\n".replace(",", '""'))
    with (
        pytest.raises(TrainingInvalid, match="`seen` lacks the time"),
        open_training(path) as file,
    ):
        file.times("seen")
