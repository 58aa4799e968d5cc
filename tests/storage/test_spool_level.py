from collections.abc import Mapping
from pathlib import Path

from support.log_records import NOW, SECOND, SegmentWriter

from storage.frames import HEADER_BYTES
from storage.segments import list_segments
from storage.spool_level import FILE_NAME, MarkFile, SpoolLevel
from storage.watermarks import Watermark


def marks_of(*marks: Watermark) -> Mapping[str, Watermark]:
    """Return watermarks by source."""
    return {mark.source: mark for mark in marks}


def size_of(directory: Path) -> int:
    """Return the size of all segments."""
    return sum(segment.size_bytes for segment in list_segments(directory))


def test_without_marks_all_is_unread(tmp_path: Path) -> None:
    """Nobody has said that anything is in the database."""
    SegmentWriter(tmp_path).ends([1, 2])
    usage = SpoolLevel(tmp_path).measure()
    assert usage == (1, size_of(tmp_path), size_of(tmp_path))


def test_what_was_read_does_not_count(tmp_path: Path) -> None:
    """Earlier segments and the beginning of the present one are in the database."""
    writer = SegmentWriter(tmp_path)
    writer.ends([1])
    writer.rotate()
    writer.ends([2])
    MarkFile(tmp_path).publish(marks_of(Watermark("w0-1-1", 1, HEADER_BYTES)), NOW)
    usage = SpoolLevel(tmp_path).measure()
    assert usage.unread_bytes == writer.info().size_bytes - HEADER_BYTES
    assert usage.size_bytes == size_of(tmp_path)


def test_a_finished_source_has_nothing_unread(tmp_path: Path) -> None:
    """Its segments are still kept, but they wait for nobody."""
    SegmentWriter(tmp_path).ends([1])
    MarkFile(tmp_path).publish(marks_of(Watermark("w0-1-1", 0, 9, finished=True)), NOW)
    assert SpoolLevel(tmp_path).measure().unread_bytes == 0


def test_marks_are_written_once_a_second_at_most(tmp_path: Path) -> None:
    """Each batch moves them, and the file need not follow each; a clock that goes back is none."""
    file, path = MarkFile(tmp_path), tmp_path / FILE_NAME
    file.publish(marks_of(Watermark("a", 1)), NOW)
    first = path.read_bytes()
    file.publish(marks_of(Watermark("a", 2)), NOW + SECOND - 1)
    assert path.read_bytes() == first
    file.publish(marks_of(Watermark("a", 2)), NOW - 1)
    assert path.read_bytes() != first


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """The directory is missing first; publishing raises nothing and makes up for it."""
    directory = tmp_path / "spool"
    file = MarkFile(directory)
    file.publish(marks_of(Watermark("a", 1)), NOW)
    directory.mkdir()
    file.publish(marks_of(Watermark("a", 1)), NOW + SECOND)
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    """The quota then holds too early, never too late."""
    SegmentWriter(tmp_path).ends([1])
    (tmp_path / FILE_NAME).write_bytes(b"\xc1")
    assert SpoolLevel(tmp_path).measure().unread_bytes == size_of(tmp_path)
