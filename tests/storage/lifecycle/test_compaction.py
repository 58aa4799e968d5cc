"""Disk space given back, while the file is in use."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.log_records import NOW, now_us

from storage.database import COPIES_FOLDER, FILE_NAME, Database
from storage.errors import DatabaseFailed
from storage.lifecycle.compaction import compact
from storage.lifecycle.copies import copies_folder, usage

PROGRAM = Path(__file__).parent / "compacting_program.py"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Open a database with many rows, most of them deleted."""
    database = Database.open(tmp_path / "data", now_us=now_us)
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO feedback (prediction_id, given_at, tenant, comment, batch)"
            " SELECT uuid(), make_timestamp(range), 't', uuid()::VARCHAR, 1 FROM range(100_000)"
        )
    database.checkpoint()
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM feedback WHERE epoch_us(given_at) < 90_000")
    yield database
    database.close()


def comments(database: Database) -> list[tuple[object, ...]]:
    """Return all that the table holds, in order."""
    with database.cursor() as cursor:
        return cursor.execute("SELECT * FROM feedback ORDER BY given_at").fetchall()


def test_a_compaction_returns_disk_and_keeps_rows(database: Database) -> None:
    """The file shrinks; rows, views and the number of the schema stay."""
    before = comments(database)
    done = compact(database, now_us=NOW, pause=nullcontext)
    assert done.after_bytes < done.before_bytes / 3
    assert done.tries == 1
    assert comments(database) == before
    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM payloads").fetchone() == (0,)
        assert cursor.execute("SELECT count(*) FROM features").fetchone() == (0,)
    assert list((database.data_dir / COPIES_FOLDER).iterdir()) == []


def test_a_compacted_file_opens_again(database: Database) -> None:
    """What took the place is a whole database of the newest schema."""
    before = comments(database)
    compact(database, now_us=NOW, pause=nullcontext)
    database.close()
    again = Database.open(database.data_dir, now_us=now_us)
    assert comments(again) == before
    assert usage(again).wal_bytes == 0
    again.close()


def test_a_commit_during_the_copy_is_not_lost(database: Database) -> None:
    """A copy that misses a row is thrown away, and the next has it."""
    statement = (
        "INSERT INTO feedback (prediction_id, given_at, tenant, batch)"
        " VALUES (uuid(), make_timestamp(1), 'late', 2)"
    )

    class Disturbed(Database):
        disturbances = 1

        def swap(self, *args: object) -> bool:
            if self.disturbances:
                self.disturbances -= 1
                with self.cursor() as cursor:
                    cursor.execute(statement)
            return super().swap(*args)  # type: ignore[arg-type]  # (handed on as they came)

    database.close()
    disturbed = Disturbed.open(database.data_dir, now_us=now_us)
    assert compact(disturbed, now_us=NOW, pause=nullcontext).tries == 2
    with disturbed.cursor() as cursor:
        found = cursor.execute("SELECT count(*) FROM feedback WHERE tenant = 'late'").fetchone()
    assert found == (1,)
    disturbed.disturbances = 9
    with pytest.raises(DatabaseFailed, match="written to during 3 copies"):
        compact(disturbed, now_us=NOW, pause=nullcontext)
    with disturbed.cursor() as cursor:
        found = cursor.execute("SELECT count(*) FROM feedback WHERE tenant = 'late'").fetchone()
    assert found == (4,)
    disturbed.close()


def test_readers_go_on_through_a_compaction(database: Database) -> None:
    """Queries before, during and after the swap all see the same rows."""
    counts: set[object] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with database.cursor() as cursor:
                counts.add(cursor.execute("SELECT count(*) FROM feedback").fetchone())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            compact(database, now_us=NOW, pause=nullcontext)
    finally:
        stop.set()
        reader.join()
    assert counts == {(10_000,)}


def test_what_an_interrupted_copy_left_is_removed_later(database: Database) -> None:
    """After an hour a left-over is nobody's; a younger one may be under way."""
    left = database.data_dir / COPIES_FOLDER / "left"
    left.mkdir(parents=True)
    (left / FILE_NAME).write_bytes(b"half")
    made_us = int(left.stat().st_mtime * 1e6)
    copies_folder(database, made_us + 60_000_000)
    assert left.exists()
    copies_folder(database, made_us + 3_700_000_000)
    assert not left.exists()


def test_a_kill_during_a_compaction_loses_nothing(tmp_path: Path) -> None:
    """Whatever the moment, the file that is left holds all that was committed."""
    committed = 0
    for round_ in range(4):
        with subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        ) as child:
            assert child.stdout is not None
            for _ in range(2):
                committed = int(child.stdout.readline())
            time.sleep(0.08 * round_)
            child.kill()
            rest = child.stdout.read().split()
        committed = int(rest[-1]) if rest else committed
        database = Database.open(tmp_path / "data", now_us=now_us)
        with database.cursor() as cursor:
            row = cursor.execute("SELECT count(*) FROM feedback").fetchone()
        database.close()
        # A commit that was not told any more counts too.
        assert row in {(committed,), (committed + 1000,)}
