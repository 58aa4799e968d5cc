"""Every moment at which a step can be interrupted, made from the state before and after it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.log_records import NOW, SECOND, id_of
from support.text_log import TextLog, answers

from storage.database import FILE_NAME
from storage.segments import list_segments

DAY = 86_400 * SECOND
OpenLog = Callable[..., TextLog]
PAYLOADS = "payloads"


class Moment:
    """A data directory copied before and after one piece of work, and put together anew."""

    def __init__(self, log: TextLog, work: Callable[[], object], folder: Path) -> None:
        self._folder = folder
        self._before = folder / "before"
        self._after = folder / "after"
        shutil.copytree(log.data_dir, self._before)
        work()
        log.database.checkpoint()
        shutil.copytree(log.data_dir, self._after)
        log.close()
        names = set(log.on_disk())
        old = {str(path.relative_to(self._before / PAYLOADS)) for path in self._files("before")}
        self.new = sorted(names - old)

    def _files(self, when: str) -> list[Path]:
        return list((self._folder / when / PAYLOADS).glob("day=*/*.parquet"))

    def build(self, database: str, named: int, partial: bytes | None = None) -> None:
        """Make folder `crashed`: a database, the first new files by name, the rest as `.tmp`.

        Parameters
        ----------
        database : str
            `before`, `after` or `lost`.
        partial : bytes, optional
            What the unnamed files hold instead of all.
        """
        crashed = self._folder / "crashed"
        source = self._after if database == "after" else self._before
        shutil.copytree(source, crashed)
        if database == "lost":
            for path in crashed.glob(f"{FILE_NAME}*"):
                path.unlink()
        for number, name in enumerate(self.new):
            path = crashed / PAYLOADS / name
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            whole = (self._after / PAYLOADS / name).read_bytes()
            if number < named:
                path.write_bytes(whole)
            else:
                path.with_suffix(".tmp").write_bytes(whole if partial is None else partial)


def assert_whole(log: TextLog, expected: list[str]) -> None:
    """After a start, text is there once, in the files that the registry names, and no other."""
    log.archive.recover()
    assert len(set(log.responses())) == len(log.responses())
    log.ingest()
    log.flush()
    assert log.responses() == expected
    assert log.losses() == []
    for wait_s in (7200, 200):
        log.at_us += wait_s * SECOND
        log.archive.step()
    assert log.responses() == expected
    names = {path.name for path in (log.data_dir / PAYLOADS).glob("day=*/*")}
    assert names == {one.file.rpartition("/")[2] for one in log.files()}


@pytest.mark.parametrize(
    ("database", "named", "partial"),
    [
        ("before", 0, b"PAR1 and no more"),
        ("before", 1, None),
        ("before", 2, None),
        ("lost", 0, None),
        ("lost", 1, None),
        ("lost", 2, None),
    ],
)
def test_a_chunk_that_is_interrupted(
    log: TextLog,
    open_log: OpenLog,
    tmp_path: Path,
    database: str,
    named: int,
    partial: bytes | None,
) -> None:
    """Two files of a chunk, unwritten, unnamed, unregistered: nothing twice, nothing missing."""
    log.log(1)
    log.flush()
    log.log(2)
    log.log(3, started_at=NOW + DAY)
    moment = Moment(log, log.flush, tmp_path)
    assert len(moment.new) == 2
    moment.build(database, named, partial)
    assert_whole(open_log("crashed"), answers(1, 2, 3))


@pytest.mark.parametrize(
    ("database", "named"), [("before", 0), ("before", 1), ("after", 1), ("lost", 0), ("lost", 1)]
)
def test_a_merge_that_is_interrupted(
    log: TextLog, open_log: OpenLog, tmp_path: Path, database: str, named: int
) -> None:
    """A merged file counts when it is registered, or when it is all that is left to say so."""
    for number in range(3):
        log.log(number)
        log.flush()
    log.at_us += 3600 * SECOND
    moment = Moment(log, log.archive.step, tmp_path)
    assert len(moment.new) == 1
    moment.build(database, named)
    assert_whole(open_log("crashed"), answers(0, 1, 2))


@pytest.mark.parametrize("database", ["before", "lost"])
def test_an_older_database_with_merged_files(
    log: TextLog, open_log: OpenLog, tmp_path: Path, database: str
) -> None:
    """A backup names files that have been merged and removed since: the merged one counts."""
    for number in range(3):
        log.log(number)
        log.flush()
    log.at_us += 3600 * SECOND

    def merge() -> None:
        log.archive.step()
        log.at_us += 200 * SECOND
        log.archive.step()
        assert len(log.on_disk()) == 1
        log.log(3)
        log.flush()

    moment = Moment(log, merge, tmp_path)
    moment.build(database, 2)
    for path in (tmp_path / "crashed" / PAYLOADS).glob("day=*/*.parquet"):
        if f"{path.parent.name}/{path.name}" not in moment.new:
            path.unlink()
    shutil.copytree(
        tmp_path / "after" / "spool", tmp_path / "crashed" / "spool", dirs_exist_ok=True
    )
    assert_whole(open_log("crashed"), answers(0, 1, 2, 3))


@pytest.mark.parametrize("database", ["before", "lost"])
@pytest.mark.parametrize("named", [0, 1])
def test_forgetting_that_is_interrupted(
    log: TextLog, open_log: OpenLog, tmp_path: Path, database: str, named: int
) -> None:
    """The old file or the new one, never both; forgetting once more removes the text."""
    log.log(1, 2)
    log.flush()
    moment = Moment(log, lambda: log.archive.forget([id_of(1)]), tmp_path)
    moment.build(database, named)
    crashed = open_log("crashed")
    crashed.archive.recover()
    left = answers(2) if database == "lost" and named else answers(1, 2)
    assert crashed.responses() == left
    crashed.archive.forget([id_of(1)])
    assert_whole(crashed, answers(2))


def test_files_outlive_database_and_spool(log: TextLog, open_log: OpenLog, tmp_path: Path) -> None:
    """With nothing but the files, all text is there again and stays in its place."""
    log.log(1, 2)
    log.flush()
    log.log(3, started_at=NOW + DAY)
    log.flush()
    log.close()
    shutil.copytree(log.data_dir / PAYLOADS, tmp_path / "fresh" / PAYLOADS)
    fresh = open_log("fresh")
    assert fresh.archive.recover() == 2
    assert fresh.responses() == answers(1, 2, 3)
    assert fresh.archive.archived("w0-1-1") == log_end(log)
    assert fresh.archive.recover() == 0


def log_end(log: TextLog) -> tuple[int, int]:
    """Return where the spool of a log ends."""
    segment = list_segments(log.spool)[-1]
    return segment.number, segment.size_bytes


def test_a_file_that_is_missing_is_counted(log: TextLog) -> None:
    """A registered file that somebody removed is a loss that is said once."""
    log.log(1, 2)
    log.flush()
    (log.data_dir / PAYLOADS / log.on_disk()[0]).unlink()
    for _ in range(2):
        log.archive.recover()
        assert log.losses() == [("text", 2)]
    assert log.responses() == []


def test_an_unreadable_stray_is_set_aside(log: TextLog) -> None:
    """What is no Parquet file, or not ours, leaves the view's folder by name."""
    log.log(1)
    log.flush()
    folder = log.data_dir / PAYLOADS / "day=2026-11-18"
    (folder / "t000007.parquet").write_bytes(b"PAR1 and no more")
    (folder / "notes.txt").write_bytes(b"mine")
    assert log.archive.recover() == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "notes.txt",
        "t000001.parquet",
        "t000007.damaged",
    ]
    log.log(2)
    log.flush()
    assert log.responses() == answers(1, 2)


def test_a_full_disk_loses_nothing(log: TextLog) -> None:
    """A chunk that cannot be written fails, and is written when it can be."""
    log.log(1)
    blocked = log.data_dir / PAYLOADS / "day=2026-11-18"
    blocked.write_bytes(b"")
    with pytest.raises(Exception, match="day=2026-11-18"):
        log.flush()
    assert log.responses() == []
    blocked.unlink()
    assert log.flush() == 1
    assert log.responses() == answers(1)
