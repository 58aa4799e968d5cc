import shutil
from pathlib import Path

import duckdb
import pytest
from support.log_records import NOW, SegmentWriter, id_of
from support.text_log import TextLog, answers

from storage.database import FILE_NAME
from storage.migrations import STEPS, migrate
from storage.text.lookup import text_of
from storage.times import to_timestamp

DAY_FOLDER = "day=2026-11-18"


@pytest.fixture
def old(tmp_path: Path, empty_data: Path) -> Path:
    """Return a data directory of schema version 2: one text staged, one in a day file."""
    folder = tmp_path / "old"
    shutil.copytree(empty_data / "payloads", folder / "payloads")
    (folder / "payloads" / DAY_FOLDER).mkdir()
    at = to_timestamp(NOW + 1)
    with duckdb.connect(
        str(folder / FILE_NAME), config={"file_search_path": str(folder)}
    ) as connection:
        migrate(connection, now_us=NOW, steps=STEPS[:2])
        row = "SELECT ?::UUID AS id, ?::TIMESTAMP AS started_at, ? AS request, ? AS response,"
        row += " false AS request_truncated, false AS response_truncated, '' AS response_type"
        connection.execute(
            f"INSERT INTO payloads_recent {row}", [id_of(1), at, "question 1", "answer 1"]
        )
        target = folder / "payloads" / DAY_FOLDER / "1.parquet"
        connection.execute(
            f"COPY ({row}) TO '{target}' (FORMAT parquet)",
            [id_of(2), to_timestamp(NOW + 2), "question 2", "answer 2"],
        )
        connection.execute(
            "INSERT INTO payload_files VALUES (?, '2026-11-18', 1, ?, ?, ?, false)",
            [f"{DAY_FOLDER}/1.parquet", target.stat().st_size, *[to_timestamp(NOW + 2)] * 2],
        )
        connection.execute("INSERT INTO watermarks VALUES ('w0-1-1', 0, 900, 2, '\\x90', false)")
        connection.execute("CHECKPOINT")
    return folder


def test_an_old_folder_keeps_its_text(old: Path) -> None:
    """Staged text and old day files are in the view before and after the first start's move."""
    log = TextLog(old)
    assert log.responses() == answers(1, 2)
    log.archive.recover()
    with log.database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM payloads_recent").fetchall() == [(0,)]
        for number in (1, 2):
            row = {"id": id_of(number), "started_at": NOW + number, "source": None}
            found = text_of(cursor, old, row)
            assert found is not None
            assert found["request"] == f"question {number}"
    assert log.responses() == answers(1, 2)
    assert log.on_disk() == [f"{DAY_FOLDER}/1.parquet", f"{DAY_FOLDER}/t000001.parquet"]
    assert log.archive.archived("w0-1-1") == (0, 900)
    log.close()


def test_an_interrupted_move_is_made_again(old: Path) -> None:
    """Killed between the file's name and the registry: still each text once."""
    copy = old.with_name("copy")
    shutil.copytree(old, copy)
    log = TextLog(old)
    log.archive.recover()
    log.close()
    shutil.copy(old / "payloads" / DAY_FOLDER / "t000001.parquet", copy / "payloads" / DAY_FOLDER)
    again = TextLog(copy)
    again.archive.recover()
    assert again.responses() == answers(1, 2)
    assert len(again.on_disk()) == 2
    again.close()


def test_old_files_are_forgotten(old: Path) -> None:
    """Text in a file of the older form goes as well."""
    log = TextLog(old)
    log.archive.recover()
    assert log.archive.forget([id_of(2)]) == 1
    assert log.responses() == answers(1)
    log.close()


def test_an_old_file_without_a_registry_is_not_doubled(old: Path) -> None:
    """With the database lost, the file is taken in, and what the spool has of it is left out."""
    (old / FILE_NAME).unlink()
    writer = SegmentWriter(old / "spool")
    writer.ends([2, 3])
    writer.die()
    log = TextLog(old)
    assert log.archive.recover() == 1
    log.ingest()
    log.flush()
    assert log.responses() == answers(2, 3)
    log.close()
