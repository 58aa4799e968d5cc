import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest
from support.log_records import NOW, SECOND, end_of, id_of, now_us, signals_of

from storage import reader
from storage.database import FILE_NAME, Database, DatabaseLimits
from storage.errors import DatabaseFailed
from storage.payloads import PayloadStore
from storage.records import End, Payload
from storage.writer import Batch, write_batch

DAY = 86_400 * SECOND


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database, closed at the end."""
    database = Database.open(tmp_path / "data", now_us=now_us)
    yield database
    database.close()


def store(database: Database, ends: Sequence[End]) -> None:
    """Write records without a spool."""
    with database.cursor() as cursor:
        write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=NOW)


def texts(database: Database) -> list[str]:
    """Return all responses the view shows, in order."""
    with database.cursor() as cursor:
        rows = cursor.execute("SELECT response FROM payloads ORDER BY started_at").fetchall()
    return [row[0] for row in rows]


def test_text_moves_to_day_files(database: Database) -> None:
    """Archiving empties the staging table; the view shows the same text before and after."""
    payloads = PayloadStore(database)
    store(database, [end_of(1), end_of(2), end_of(3, started_at=NOW + DAY)])
    before = texts(database)
    files = payloads.archive()
    assert [f"{path.parent.name}/{path.name}" for path in files] == [
        "day=2026-11-18/1.parquet",
        "day=2026-11-19/1.parquet",
    ]
    assert payloads.staged_rows() == 0
    assert texts(database) == before == ["answer 1", "answer 2", "answer 3"]


def test_a_day_gets_another_file(database: Database) -> None:
    """A second move of the same day adds a file; moving nothing adds none."""
    payloads = PayloadStore(database)
    store(database, [end_of(1)])
    payloads.archive()
    store(database, [end_of(2)])
    assert [path.name for path in payloads.archive()] == ["2.parquet"]
    assert payloads.archive() == []
    assert texts(database) == ["answer 1", "answer 2"]


def test_text_beyond_the_memory_limit_moves_in_pieces(tmp_path: Path) -> None:
    """Bodies that do not fit the database's memory together go to several files of the day."""
    limits = DatabaseLimits(memory="100MB", wal_autocheckpoint="10MB")
    database = Database.open(tmp_path / "data", now_us=now_us, limits=limits)
    text = random.Random(1).randbytes(100_000).hex().encode()
    for n in range(0, 400, 50):
        store(
            database,
            [
                End(end_of(i).prediction, (), Payload(text[i:] + text[:i], b"%d" % i))
                for i in range(n, n + 50)
            ],
        )
    payloads = PayloadStore(database)
    files = payloads.archive()
    assert len(files) > 1
    assert payloads.staged_rows() == 0
    with database.cursor() as cursor:
        found = cursor.execute("SELECT count(*), count(DISTINCT response) FROM payloads")
        assert found.fetchall() == [(400, 400)]
    assert payloads.recover() == 0
    database.close()


def test_text_keeps_its_characters(database: Database) -> None:
    """NUL and other scripts survive the move; bytes that are no UTF-8 are marked."""
    strange = Payload("a\0б漢".encode(), b"\xff\xfe{", response_truncated=True)
    store(database, [End(end_of(1).prediction, (), strange)])
    PayloadStore(database).archive()
    with database.cursor() as cursor:
        found = cursor.execute("SELECT request, response, response_truncated FROM payloads")
        assert found.fetchall() == [("a\0б漢", "\ufffd\ufffd{", True)]


def test_an_interrupted_move_is_finished(database: Database) -> None:
    """Killed between rename and commit: the file is taken in, the staged rows go."""
    payloads = PayloadStore(database)
    store(database, [end_of(1), end_of(2)])
    (file,) = payloads.archive()
    kept = file.read_bytes()
    file.unlink()
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM payload_files")
    store(database, [end_of(1), end_of(2)])
    file.write_bytes(kept)
    assert texts(database) == ["answer 1", "answer 2"]
    assert payloads.recover() == 1
    assert payloads.staged_rows() == 0
    assert texts(database) == ["answer 1", "answer 2"]
    assert payloads.recover() == 0


def test_a_half_written_file_is_removed(database: Database) -> None:
    """Killed while writing: the staged rows are still there and move the next time."""
    payloads = PayloadStore(database)
    store(database, [end_of(1)])
    folder = database.data_dir / "payloads" / "day=2026-11-18"
    folder.mkdir()
    (folder / "1.tmp").write_bytes(b"PAR1 and no more")
    (folder / "7.parquet").write_bytes(b"PAR1 and no more")
    assert payloads.recover() == 0
    assert sorted(path.name for path in folder.iterdir()) == ["7.damaged"]
    assert [path.name for path in payloads.archive()] == ["1.parquet"]
    assert texts(database) == ["answer 1"]


def test_a_move_that_cannot_be_written_changes_nothing(database: Database) -> None:
    """With a file where the day's folder should be, the text stays staged."""
    payloads = PayloadStore(database)
    store(database, [end_of(1)])
    (database.data_dir / "payloads" / "day=2026-11-18").write_bytes(b"")
    with pytest.raises(DatabaseFailed, match="day=2026-11-18"):
        payloads.archive()
    assert texts(database) == ["answer 1"]


def test_a_rebuilt_database_keeps_archived_text(database: Database) -> None:
    """Day files outlive the database file, and re-reading the spool doubles nothing."""
    store(database, [end_of(1), end_of(2)])
    PayloadStore(database).archive()
    database.rebuild()
    payloads = PayloadStore(database)
    assert payloads.recover() == 1
    store(database, [end_of(2), end_of(3)])
    assert texts(database) == ["answer 1", "answer 2", "answer 3"]
    assert payloads.staged_rows() == 1


def test_retention_unlinks_day_files(database: Database) -> None:
    """Text and facts go at their own ages; what is young enough stays."""
    payloads = PayloadStore(database)
    store(database, [end_of(i, started_at=NOW - i * DAY) for i in range(1, 11)])
    files = payloads.archive()
    retired = payloads.apply_retention(NOW, payload_days=3, prediction_days=6)
    assert (retired.predictions, retired.files) == (4, 7)
    assert sum(path.exists() for path in files) == 3
    assert sum(path.parent.exists() for path in files) == 3
    with database.cursor() as cursor:
        for table, left in (("predictions", 6), ("features", 6), ("attempts", 6)):
            rows = cursor.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 (names of this line)
            assert rows == [(left,)], table
    assert len(texts(database)) == 3


def test_a_copied_folder_is_read(database: Database, tmp_path: Path) -> None:
    """A copy elsewhere, write-ahead log included, shows staged and archived text read-only."""
    store(database, [end_of(1)])
    PayloadStore(database).archive()
    store(database, [end_of(2)])
    copy = tmp_path / "elsewhere"
    shutil.copytree(database.data_dir, copy)
    assert (copy / (FILE_NAME + ".wal")).stat().st_size > 0
    shutil.rmtree(database.data_dir / "payloads" / "day=2026-11-18")
    copied = Database.open_read_only(copy)
    assert texts(copied) == ["answer 1", "answer 2"]
    with copied.cursor() as cursor:
        found = reader.record(cursor, id_of(1))
    assert found is not None
    assert found["payload"]["request"] == "question 1"
    copied.close()


def test_the_view_works_from_inside_the_folder(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone who opens the bare file with the folder as working directory sees the text."""
    store(database, [end_of(1)])
    PayloadStore(database).archive()
    database.close()
    monkeypatch.chdir(database.data_dir)
    with duckdb.connect(FILE_NAME, read_only=True) as connection:
        assert connection.execute("SELECT response FROM payloads").fetchall() == [("answer 1",)]
