"""A backup is a whole data directory of one moment, made while it is in use."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.log_life import Life
from support.log_records import NOW, id_of

from storage.database import COPIES_FOLDER
from storage.errors import DatabaseFailed
from storage.lifecycle.backup import take_backup

USER = "a" * 32


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Open an empty directory."""
    life = Life(tmp_path / "data", NOW)
    yield life
    life.close()


def opened(target: Path) -> Life:
    """Serve a backup; its requests under way have ended with it."""
    copy = Life(target, NOW)
    copy.drain()
    return copy


def test_a_backup_has_facts_text_archive_and_spool(life: Life, tmp_path: Path) -> None:
    """What is in the database, in files, and in the spool alone is there when it is served."""
    life.record((n, NOW - n, USER) for n in range(20))
    life.drain()
    life.archive.archive_now()
    life.record((n, NOW - n, USER) for n in range(20, 30))
    life.ingester.step()
    life.record((n, NOW - n, USER) for n in range(30, 35))
    made = life.cycle.backup()
    assert made.predictions == 30
    take_backup(Path(made.folder), tmp_path / "backup")
    copy = opened(tmp_path / "backup")
    assert copy.value("SELECT count(*) FROM predictions") == 35
    assert copy.value("SELECT count(DISTINCT id) FROM payloads") == 35
    assert copy.value("SELECT count(*) FROM payloads") == 35
    assert copy.value("SELECT sum(n) FROM rollup_counts") == 35
    copy.close()
    assert life.value("SELECT count(*) FROM predictions") == 30


def test_a_backup_under_load_is_a_prefix(life: Life, tmp_path: Path) -> None:
    """Rows, text and roll-ups of the copy are those of the first records, none twice."""
    stop = threading.Event()

    def load() -> None:
        number = 0
        while not stop.is_set():
            life.record((n, NOW - 1_000_000 + n, USER) for n in range(number, number + 50))
            number += 50
            life.ingester.step()
            life.text.step(flush=True)
            life.archive.archive_now()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        made = life.cycle.backup()
    finally:
        stop.set()
        thread.join()
    take_backup(Path(made.folder), tmp_path / "backup")
    copy = opened(tmp_path / "backup")
    total = copy.value("SELECT count(*) FROM predictions")
    assert isinstance(total, int)
    assert total >= made.predictions
    assert total % 50 == 0
    assert copy.value("SELECT count(DISTINCT id) FROM predictions") == total
    assert total == 0 or copy.value("SELECT max(id)::VARCHAR FROM predictions") == id_of(total - 1)
    assert copy.value("SELECT count(*) FROM payloads") == total
    assert copy.value("SELECT coalesce(sum(n), 0) FROM rollup_counts") == total
    copy.close()


def test_a_backup_does_not_take_the_place_of_another(life: Life, tmp_path: Path) -> None:
    """A target that exists is refused, and the copy stays where it was."""
    made = life.cycle.backup()
    (tmp_path / "there").mkdir()
    with pytest.raises(DatabaseFailed, match="exists; name a new folder"):
        take_backup(Path(made.folder), tmp_path / "there")
    assert Path(made.folder).is_dir()
    assert Path(made.folder).parent.name == COPIES_FOLDER
