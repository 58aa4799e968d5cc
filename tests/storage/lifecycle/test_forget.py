"""Forgetting reaches everything, and nothing comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.log_life import DAY, Life
from support.log_records import NOW, id_of

from storage.database import FILE_NAME
from storage.frames import FrameKind
from storage.lifecycle.forget import ForgetRequest
from storage.records import Feedback

USER, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Open a directory with sixty predictions of two users, over two days, all in files."""
    life = Life(tmp_path / "data", NOW)
    users = (USER, OTHER)
    life.record((n, NOW - DAY * (n // 40) - n - 1, users[n % 2]) for n in range(60))
    life.writer.write(FrameKind.FEEDBACK, Feedback(id_of(4), NOW - 1, "default", 1.0))
    life.drain()
    life.archive.archive_now()
    yield life
    life.close()


def rows_of(life: Life, user: str) -> object:
    """Count the predictions of a user."""
    return life.value("SELECT count(*) FROM predictions WHERE user_key = ?", user)


def texts(life: Life) -> object:
    """Count the bodies that can be read."""
    return life.value("SELECT count(*) FROM payloads")


def test_a_user_goes_from_every_table_and_file(life: Life) -> None:
    """Facts, attempts, feedback, text and archive; the other user keeps everything."""
    counted = life.value("SELECT sum(n) FROM rollup_counts")
    found = life.cycle.forget(ForgetRequest(user_keys=(USER,)))
    assert found.predictions == 30
    assert rows_of(life, USER) == 0
    assert rows_of(life, OTHER) == 30
    assert life.value("SELECT count(*) FROM attempts") == 30
    assert life.value("SELECT count(*) FROM feedback") == 0
    assert texts(life) == 30
    assert life.archive.statistics().rows == life.value(
        "SELECT (SELECT count(*) FROM predictions) + (SELECT count(*) FROM attempts)"
    )
    assert life.value("SELECT sum(n) FROM rollup_counts") == counted


def test_nothing_of_a_user_is_left_in_the_files(life: Life) -> None:
    """Once the segment is sealed, the bytes of the key are in no file but the tombstones'."""
    life.writer.rotate()
    life.drain()
    found = life.cycle.forget(ForgetRequest(user_keys=(USER,)))
    assert found.segments == 1
    assert [Path(one.file).name for one in found.remainders] == [life.writer.path.name]
    spool = life.data_dir / "spool"
    assert not [path for path in spool.iterdir() if USER.encode() in path.read_bytes()]
    for path in (life.data_dir / "archive").rglob("predictions*/**/*.parquet"):
        assert (
            life.value("SELECT count(*) FROM read_parquet(?) WHERE user_key = ?", str(path), USER)
            == 0
        )


def test_a_lost_database_does_not_bring_a_user_back(life: Life) -> None:
    """The archive, the segments and the tombstones agree after a restore."""
    life.cycle.forget(ForgetRequest(user_keys=(USER,)))
    counted = life.value("SELECT sum(n) FROM rollup_counts")
    life.database.close()
    for path in life.data_dir.glob(f"{FILE_NAME}*"):
        path.unlink()
    life.open()
    life.drain()
    assert rows_of(life, USER) == 0
    assert rows_of(life, OTHER) == 30
    assert texts(life) == 30
    assert life.value("SELECT sum(n) FROM rollup_counts") == counted


def test_late_rows_of_the_past_are_left_out(life: Life) -> None:
    """What was spooled before the wish and read after it does not come in; what is newer does."""
    life.record([(100, NOW - 5, USER)])
    life.now = NOW + 10
    life.cycle.forget(ForgetRequest(user_keys=(USER,)))
    life.record([(101, NOW + 20, USER)])
    life.now = NOW + 30
    life.drain()
    assert rows_of(life, USER) == 1
    assert life.value("SELECT id::VARCHAR FROM predictions WHERE user_key = ?", USER) == id_of(101)
    assert texts(life) == 31


def test_a_prediction_goes_with_its_shadow(life: Life) -> None:
    """By id: the row, what belongs to it, and the row that names it as its pair."""
    with life.database.cursor() as cursor:
        cursor.execute("UPDATE predictions SET pair_id = ? WHERE id = ?", [id_of(7), id_of(8)])
    found = life.cycle.forget(ForgetRequest(ids=(id_of(7),)))
    assert found.predictions == 2
    assert life.value("SELECT count(*) FROM predictions") == 58
    assert texts(life) == 58


def test_a_file_that_was_set_aside_is_told(life: Life) -> None:
    """A damaged database may still hold the user, and only its owner can say whether it may go."""
    aside = life.data_dir / f"{FILE_NAME}.damaged-1"
    aside.write_bytes(b"")
    found = life.cycle.forget(ForgetRequest(user_keys=(USER,)))
    assert str(aside) in [one.file for one in found.remainders]
