from support.log_records import NOW, begin_of, end_of, id_of
from support.text_log import TextLog, with_text

from storage.frames import FrameKind
from storage.text.lookup import text_of
from storage.times import from_timestamp


def text(log: TextLog, number: int) -> dict[str, object] | None:
    """Look up the text of a numbered record by its row."""
    with log.database.cursor() as cursor:
        row = cursor.execute(
            "SELECT id::VARCHAR, started_at, source, segment, byte_offset, has_payload"
            " FROM predictions WHERE id = ?",
            [id_of(number)],
        ).fetchone()
        assert row is not None
        names = ("id", "started_at", "source", "segment", "byte_offset", "has_payload")
        found = dict(zip(names, row, strict=True))
        found["started_at"] = from_timestamp(row[1])
        return text_of(cursor, log.data_dir, found)


def test_young_text_is_read_from_the_spool(log: TextLog) -> None:
    """Before it is in a file, text is where its facts say."""
    log.log(1)
    log.writer.write(FrameKind.BEGIN, begin_of(3))
    log.log(2)
    assert log.files() == []
    assert text(log, 2) == {
        "request": "question 2",
        "response": "answer 2",
        "request_truncated": False,
        "response_truncated": False,
        "response_type": "application/json",
    }


def test_archived_text_is_read_from_its_file(log: TextLog) -> None:
    """The same text, though the segment is gone."""
    log.log(1, 2)
    log.write([with_text(3, '{"messages":["' + "long " * 99 + '"]}', "yes")])
    log.ingest()
    young = [text(log, number) for number in (1, 2, 3)]
    log.flush()
    log.writer.path.unlink()
    assert [text(log, number) for number in (1, 2, 3)] == young
    assert young[0] != young[1]


def test_text_of_a_damaged_file(log: TextLog) -> None:
    """The facts are shown without it, also before the file has been set aside."""
    log.log(1)
    log.flush()
    log.writer.path.unlink()
    path = log.data_dir / "payloads" / log.files()[0].file
    path.write_bytes(b"x" * path.stat().st_size)
    assert text(log, 1) is None


def test_no_text(log: TextLog) -> None:
    """A record without text has none, nor has one whose file is kept no longer."""
    log.write([end_of(1, text=False)])
    log.log(2)
    log.flush()
    log.writer.path.unlink()
    assert text(log, 1) is None
    assert text(log, 2) is not None
    log.archive.drop_before(NOW + 10)
    assert text(log, 2) is None


def test_text_of_a_segment_that_cannot_be_read(log: TextLog) -> None:
    """The facts are shown without it, for as long as that lasts."""
    log.log(1)
    hidden = log.writer.path.rename(log.writer.path.with_name("hidden"))
    log.writer.path.symlink_to(log.writer.path)
    assert text(log, 1) is None
    hidden.replace(log.writer.path)
    assert text(log, 1) is not None
