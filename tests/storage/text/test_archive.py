import threading
from collections.abc import Callable
from datetime import date

from support.log_records import NOW, SECOND, end_of, id_of
from support.text_log import TextLog, answers, with_text

from storage.records import End, Payload
from storage.segments import list_segments, remove_segment

DAY = 86_400 * SECOND
OpenLog = Callable[..., TextLog]


def test_text_goes_from_the_spool_to_a_day_file(log: TextLog) -> None:
    """A chunk is one file a day, named in the registry with what it holds."""
    log.log(1, 2)
    log.log(3, started_at=NOW + DAY)
    assert log.flush() == 3
    assert [(one.file, one.rows) for one in log.files()] == [
        ("day=2026-11-18/t000001.parquet", 2),
        ("day=2026-11-19/t000001.parquet", 1),
    ]
    assert log.responses() == answers(1, 2, 3)
    assert log.archive.step(flush=True) == (0, 0, 0, False)


def test_a_chunk_waits_half_a_minute(log: TextLog) -> None:
    """Without need nothing is written; half a minute later it is."""
    log.archive.step()
    log.log(1)
    assert log.archive.step().rows == 0
    log.at_us += 30 * SECOND
    assert log.archive.step().rows == 1


def test_text_never_runs_ahead_of_the_facts(log: TextLog) -> None:
    """Frames that are not in the database yet stay in the spool."""
    log.log(1)
    log.write([end_of(2)])
    assert log.flush() == 1
    assert log.responses() == answers(1)
    log.ingest()
    assert log.flush() == 1
    assert log.responses() == answers(1, 2)


def test_text_of_facts_that_are_gone_is_not_archived(log: TextLog) -> None:
    """A prediction that was forgotten in between leaves no text behind."""
    log.log(1, 2, 3)
    with log.database.cursor() as cursor:
        cursor.execute("DELETE FROM predictions WHERE id = ?", [id_of(2)])
    log.flush()
    assert log.responses() == answers(1, 3)
    assert log.losses() == []


def test_several_segments_and_sources(log: TextLog, open_log: OpenLog) -> None:
    """Each source is read to its facts' mark, over the borders of segments."""
    log.log(1)
    log.writer.rotate()
    log.log(2)
    log.writer.rotate()
    other = open_log("other", source="w1-2-2")
    other.log(3)
    other.close()
    (segment,) = list_segments(other.spool)
    segment.path.rename(log.spool / segment.path.name)
    log.ingest()
    assert log.flush() == 3
    assert log.responses() == answers(1, 2, 3)
    assert log.archive.archived("w0-1-1") == (2, 0)
    assert log.archive.archived("w1-2-2") == (1, 0)


def test_strange_text_keeps_its_characters(log: TextLog) -> None:
    """NUL, other scripts and the separator itself survive; what is no UTF-8 is marked."""
    strange = Payload("a\0б漢\x1e".encode() * 40, b"\xff\xfe{", response_truncated=True)
    log.write([End(end_of(1).prediction, (), strange)])
    log.ingest()
    log.flush()
    with log.database.cursor() as cursor:
        found = cursor.execute("SELECT request, response, response_truncated FROM payloads")
        assert found.fetchall() == [("a\0б漢\x1e" * 40, "\ufffd\ufffd{", True)]


def test_records_without_text_move_the_mark_alone(log: TextLog) -> None:
    """Nothing is written, and the segment may go all the same."""
    log.write([end_of(1, text=False)])
    log.ingest()
    assert log.archive.archived("w0-1-1") == (0, 0)
    assert log.flush() == 0
    assert log.archive.archived("w0-1-1") > (0, 512)
    assert log.files() == []


def test_a_segment_that_is_gone_too_early_is_counted(log: TextLog) -> None:
    """Text whose segment somebody removed is lost, and the rest goes on."""
    log.log(1, 2)
    first = log.writer.path
    log.writer.rotate()
    log.log(3)
    assert remove_segment(first)
    assert log.flush() == 1
    assert log.responses() == answers(3)
    assert log.losses() == [("text", 2)]


def test_a_backlog_is_taken_in_chunks(open_log: OpenLog) -> None:
    """A chunk ends when it is large enough, and says that there is more."""
    log = open_log(chunk_bytes=100)
    log.log(*range(20))
    step = log.archive.step()
    assert (step.files, step.more) == (1, True)
    assert log.flush() == 20 - step.rows
    assert log.responses() == answers(*range(20))
    assert len(log.files()) == len(log.on_disk()) > 2


def test_retention_drops_whole_files(log: TextLog) -> None:
    """Old days leave the view at once, and the disk when slow readers had their time."""
    for number in range(5):
        log.log(number, started_at=NOW - number * DAY)
    log.flush()
    assert [day for day, size in log.archive.days() if size > 500] == [
        date(2026, 11, 14 + number) for number in range(5)
    ]
    dropped = log.archive.drop_before(NOW - 2 * DAY)
    assert (dropped.files, dropped.rows) == (2, 2)
    assert log.responses() == answers(0, 1, 2)
    assert len(log.on_disk()) == 5
    log.at_us += 121 * SECOND
    log.archive.step()
    assert len(log.on_disk()) == 3
    assert len(list((log.data_dir / "payloads").glob("day=*"))) == 3


def test_a_size_budget_drops_the_oldest(log: TextLog) -> None:
    """Files go from the oldest on until enough of the disk is free, at once."""
    for number in range(4):
        log.log(number, started_at=NOW - number * DAY)
    log.flush()
    size = log.files()[0].bytes
    dropped = log.archive.drop_oldest(size + 1)
    assert dropped.files == 2
    assert log.responses() == answers(0, 1)
    assert len(log.on_disk()) == 2


def test_forgetting_rewrites_the_files(log: TextLog) -> None:
    """The text is in no file any more, the other rows are, and a file without rows is gone."""
    log.write([with_text(n, "request", f"secret-{n}-" + "x" * n) for n in (1, 2, 3)])
    log.ingest()
    log.flush()
    log.write([with_text(4, "request", "secret-4", started_at=NOW + DAY)])
    log.ingest()
    log.flush()
    assert log.archive.forget([id_of(2), id_of(4), id_of(9)]) == 2
    assert log.responses() == ["secret-1-x", "secret-3-xxx"]
    assert log.on_disk() == ["day=2026-11-18/t000002.parquet"]
    log.archive.recover()
    assert log.responses() == ["secret-1-x", "secret-3-xxx"]


def test_a_damaged_file_is_set_aside(log: TextLog) -> None:
    """A flipped byte is found, the file renamed and counted; the view shows the rest."""
    log.log(1, 2)
    log.flush()
    log.log(3)
    log.flush()
    path = log.data_dir / "payloads" / log.files()[0].file
    data = bytearray(path.read_bytes())
    data[20] ^= 0x40
    path.write_bytes(data)
    assert [one.rows for one in log.archive.check()] == [2]
    assert path.with_suffix(".damaged").exists()
    assert log.responses() == answers(3)
    assert log.losses() == [("text", 2)]
    assert log.archive.statistics().damaged == 1
    assert log.archive.check() == []


def test_damage_is_found_without_asking(log: TextLog) -> None:
    """Files are checked one after the other, a few a minute."""
    for number in range(3):
        log.log(number)
        log.flush()
    path = log.data_dir / "payloads" / log.files()[2].file
    path.write_bytes(path.read_bytes()[:-9])
    for _ in range(3):
        log.at_us += 20 * SECOND
        log.archive.step()
    assert log.responses() == answers(0, 1)
    assert log.losses() == [("text", 1)]


def test_statistics(log: TextLog) -> None:
    """Sizes of what is archived and of what waits."""
    log.log(1, 2)
    waiting = log.archive.statistics()
    assert waiting[:4] == (0, 0, 0, 0)
    assert waiting.unarchived_bytes > 500
    log.flush()
    found = log.archive.statistics()
    assert (found.files, found.rows, found.unarchived_bytes) == (1, 2, 0)
    assert found.text_bytes == 2 * len("question 1answer 1")
    assert found.bytes == sum(size for _, size in log.archive.days())


def test_readers_and_the_writer_go_on_beside_it(log: TextLog) -> None:
    """Facts are written and the view is read while chunks, merges and forgetting go on."""
    done = threading.Event()
    trouble: list[BaseException] = []

    def archive() -> None:
        try:
            while not done.is_set():
                log.archive.step(flush=True)
                log.at_us += 3600 * SECOND
        except BaseException as error:
            trouble.append(error)
            raise

    thread = threading.Thread(target=archive)
    thread.start()
    seen = 0
    try:
        for start in range(0, 40, 4):
            log.log(*range(start, start + 4))
            found = log.responses()
            assert len(set(found)) == len(found) >= seen
            seen = len(found)
    finally:
        done.set()
        thread.join()
    assert not trouble
    log.flush()
    assert log.responses() == answers(*range(40))


def test_no_file_goes_under_a_reader(log: TextLog) -> None:
    """A reader that has listed merged files still finds them; they go when it has ended."""
    for number in range(3):
        log.log(number)
        log.flush()
    log.at_us += 2 * 3600 * SECOND
    with log.database.cursor() as reader:
        reader.execute("BEGIN TRANSACTION READ ONLY")
        assert reader.execute("SELECT count(*) FROM predictions").fetchall() == [(3,)]
        assert log.archive.step().merged == 3
        log.at_us += 121 * SECOND
        log.archive.step()
        found = reader.execute("SELECT response FROM payloads ORDER BY 1").fetchall()
    assert [row[0] for row in found] == answers(0, 1, 2)
    assert len(log.on_disk()) == 4
    log.at_us += 20 * SECOND
    log.archive.step()
    assert len(log.on_disk()) == 1
