import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.disk import Disk
from storage.frames import FRAME_HEAD_BYTES, HEADER_BYTES, TAG_OFFSET, FrameKind
from storage.segment_file import CHUNK_BYTES, SegmentFile
from storage.segments import (
    SegmentIndex,
    SegmentRead,
    give_back,
    list_segments,
    read_frames,
    remove_segment,
    writer_is_gone,
)

PAYLOADS = [bytes([number]) * (number * 37 % 90) for number in range(12)]
MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_segment(
    directory: Path, payloads: list[bytes], *, number: int = 0, sealed: bool = False
) -> Path:
    """Write a segment of FEEDBACK frames and let go of it."""
    segment = SegmentFile(directory, "w-0-00000000000005-1", number, 5, disk=Disk())
    batch = bytearray()
    ends = [segment.encoder.append(batch, FrameKind.FEEDBACK, payload) for payload in payloads]
    assert segment.append(batch, ends) == len(payloads)
    if sealed:
        assert segment.seal(9)
    segment.close()
    return segment.path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give a segment without damage."""
    return write_segment(tmp_path_factory.mktemp("sound"), PAYLOADS).read_bytes()


@pytest.fixture
def borders() -> list[int]:
    """Give where the sound segment's frames begin and end."""
    found = [HEADER_BYTES]
    for payload in PAYLOADS:
        found.append(found[-1] + FRAME_HEAD_BYTES + len(payload))
    return found


def payloads_of(read: SegmentRead) -> list[bytes]:
    """Return the payloads alone."""
    return [frame.payload for frame in read.frames]


def test_all_frames_are_read_in_order(tmp_path: Path, borders: list[int]) -> None:
    """Payloads, offsets and sequences are those that were written."""
    read = read_frames(write_segment(tmp_path, PAYLOADS))
    assert payloads_of(read) == PAYLOADS
    assert [frame.offset for frame in read.frames] == borders[:-1]
    assert [frame.end_offset for frame in read.frames] == borders[1:]
    first = read.frames[0].sequence
    assert [frame.sequence for frame in read.frames] == list(range(first, first + len(PAYLOADS)))
    assert read[1:] == (borders[-1], "tail", 0, 0, 0)


@MANY
@given(data=st.data())
def test_any_prefix_gives_its_whole_frames(
    tmp_path: Path, sound: bytes, borders: list[int], data: st.DataObject
) -> None:
    """A file cut at any byte: all frames before the cut, a tail, nothing skipped."""
    size = data.draw(st.integers(0, len(sound)))
    path = tmp_path / "w-0-00000000000005-1-000000.seg"
    path.write_bytes(sound[:size])
    read = read_frames(path)
    whole = sum(border <= size for border in borders[1:])
    assert payloads_of(read) == PAYLOADS[:whole]
    assert (read.state, read.skipped_bytes) == ("tail", 0)
    assert read.next_offset + read.unread_bytes == size


@MANY
@given(data=st.data())
def test_any_damaged_byte_costs_one_frame_and_is_reported(
    tmp_path: Path, sound: bytes, borders: list[int], data: st.DataObject
) -> None:
    """All other frames are read; the damage is skipped, or left unread where it is the last."""
    at = data.draw(st.integers(HEADER_BYTES, len(sound) - 1))
    path = tmp_path / "w-0-00000000000005-1-000000.seg"
    damaged = bytearray(sound)
    damaged[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    read = read_frames(path)
    hit = sum(border <= at for border in borders) - 1
    size = borders[hit + 1] - borders[hit]
    assert payloads_of(read) == PAYLOADS[:hit] + PAYLOADS[hit + 1 :]
    if hit == len(PAYLOADS) - 1:
        assert read.state in {"corrupt", "tail"}
        assert (read.skipped_bytes, read.unread_bytes) == (0, size)
    else:
        assert (read.state, read.skipped_bytes, read.skipped_regions) == ("tail", size, 1)


@MANY
@given(data=st.data())
def test_garbage_in_the_middle_is_passed_over(
    tmp_path: Path, sound: bytes, borders: list[int], data: st.DataObject
) -> None:
    """Any bytes instead of some frames, of any length: the frames around them are read."""
    first = data.draw(st.integers(0, len(PAYLOADS) - 2))
    last = data.draw(st.integers(first, len(PAYLOADS) - 2))
    garbage = data.draw(st.binary(min_size=1, max_size=200))
    path = tmp_path / "w-0-00000000000005-1-000000.seg"
    path.write_bytes(sound[: borders[first]] + garbage + sound[borders[last + 1] :])
    read = read_frames(path)
    assert payloads_of(read) == PAYLOADS[:first] + PAYLOADS[last + 1 :]
    assert (read.skipped_bytes, read.skipped_regions) == (len(garbage), 1)


@pytest.mark.parametrize("limit_bytes", [1, 50, 400])
def test_reading_in_pieces_gives_the_same_frames(tmp_path: Path, limit_bytes: int) -> None:
    """Each read goes on where the last one stopped, one frame at least."""
    path = write_segment(tmp_path, PAYLOADS, sealed=True)
    found: list[bytes] = []
    offset, state = 0, "more"
    while state == "more":
        read = read_frames(path, offset, limit_bytes)
        assert read.next_offset > offset
        offset, state = read.next_offset, read.state
        found += [frame.payload for frame in read.frames if frame.kind == FrameKind.FEEDBACK]
    assert (found, state) == (PAYLOADS, "sealed")


def test_frames_across_the_chunks_of_reading_are_whole(tmp_path: Path) -> None:
    """Frames longer than a chunk of one MiB, and frames that lie across its border."""
    payloads = [os.urandom(700_000) for _ in range(4)] + [os.urandom(3_000_000)]
    assert payloads_of(read_frames(write_segment(tmp_path, payloads), 0, 1 << 30)) == payloads


@pytest.mark.parametrize("shift", range(9))
def test_damage_longer_than_a_chunk_is_passed_over(tmp_path: Path, shift: int) -> None:
    """The next frame is found although its tag may lie across the border of two chunks."""
    size = (1 << 20) - 4 + shift - FRAME_HEAD_BYTES - TAG_OFFSET
    path = write_segment(tmp_path, [b"a", bytes(size), b"b"])
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + FRAME_HEAD_BYTES + 1)
        file.write(b"\xff")
    assert payloads_of(read_frames(path)) == [b"a", b"b"]


def test_a_sealed_segment_says_so_also_at_its_end(tmp_path: Path) -> None:
    """Whoever restarts behind the last frame still learns that nothing follows."""
    path = write_segment(tmp_path, PAYLOADS, sealed=True)
    read = read_frames(path)
    assert (read.state, read.frames[-1].kind) == ("sealed", FrameKind.SEAL)
    again = read_frames(path, read.next_offset)
    assert (again.frames, again.state) == ([], "sealed")


def test_a_payload_that_holds_frames_does_not_pass_for_them(tmp_path: Path) -> None:
    """A request body made of another segment's frames, behind damage: none of them is read."""
    forged = write_segment(tmp_path, [b"forged"] * 5).read_bytes()[HEADER_BYTES:]
    path = write_segment(tmp_path, [b"a", forged, b"b"], number=1)
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + FRAME_HEAD_BYTES + 1 + 3)
        file.write(b"\x7f")
    assert payloads_of(read_frames(path)) == [b"a", b"b"]


def test_a_segment_without_a_readable_header_is_corrupt_but_listed(tmp_path: Path) -> None:
    """Its name still says whose it is; nothing of it is passed off as read."""
    path = write_segment(tmp_path, PAYLOADS)
    data = bytearray(path.read_bytes())
    data[:HEADER_BYTES] = bytes(HEADER_BYTES)
    path.write_bytes(data)
    read = read_frames(path)
    assert (read.frames, read.state, read.unread_bytes) == ([], "corrupt", len(data))
    (info,) = list_segments(tmp_path)
    assert (info.worker, info.started_at, info.schema_version) == ("w-0", 5, 0)


def test_zeros_behind_the_frames_are_no_frames(tmp_path: Path) -> None:
    """What a power loss leaves behind is neither read nor passed over in silence."""
    path = write_segment(tmp_path, PAYLOADS)
    with path.open("ab") as file:
        file.write(bytes(4096))
    read = read_frames(path)
    assert payloads_of(read) == PAYLOADS
    assert (read.state, read.unread_bytes) == ("corrupt", 4096)


def test_segments_are_listed_by_source_and_number(tmp_path: Path) -> None:
    """Other files are left out; every field is filled."""
    for number in (10, 2, 0):
        write_segment(tmp_path, [b"x"], number=number)
    (tmp_path / "notes.txt").write_text("no segment")
    (tmp_path / "w-0-00000000000005-1-000099.new").write_text("no segment yet")
    found = list_segments(tmp_path)
    assert [info.number for info in found] == [0, 2, 10]
    info = found[0]
    assert info[1:] == (info.source, 0, "w-0", 5, 1, HEADER_BYTES + FRAME_HEAD_BYTES + 1)
    assert info.source == "w-0-00000000000005-1"


def test_a_missing_directory_has_no_segments(tmp_path: Path) -> None:
    """The control plane may start before the first worker."""
    assert list_segments(tmp_path / "none") == []


def test_a_segment_is_not_removed_under_its_writer(tmp_path: Path) -> None:
    """The lock of the open segment is seen, and seen to go."""
    segment = SegmentFile(tmp_path, "w-0-00000000000005-1", 0, 5, disk=Disk())
    assert not writer_is_gone(segment.path)
    assert not remove_segment(segment.path)
    segment.close()
    assert writer_is_gone(segment.path)
    assert remove_segment(segment.path)
    assert list_segments(tmp_path) == []


def test_a_list_is_cheap_and_follows_the_files(tmp_path: Path) -> None:
    """What a header says is kept; sizes, new segments and removed ones are seen."""
    index = SegmentIndex(tmp_path)
    first = write_segment(tmp_path, [b"x"], number=0)
    assert [info.number for info in index.list()] == [0]
    with first.open("r+b") as file:
        file.write(bytes(HEADER_BYTES))  # Nobody looks at it again.
        file.seek(0, os.SEEK_END)
        file.write(b"more")
    write_segment(tmp_path, [b"x"], number=1)
    found = index.list()
    assert [(info.number, info.schema_version) for info in found] == [(0, 1), (1, 1)]
    assert found[0].size_bytes == found[1].size_bytes + 4
    first.unlink()
    assert [info.number for info in index.list()] == [1]


def test_a_list_of_one_source_leaves_out_the_others(tmp_path: Path) -> None:
    """Also those whose name begins alike."""
    write_segment(tmp_path, [b"x"])
    index = SegmentIndex(tmp_path)
    assert len(index.list("w-0-00000000000005-1")) == 1
    assert index.list("w-0-00000000000005") == []


def test_a_segment_that_cannot_be_opened_is_listed(tmp_path: Path) -> None:
    """It holds up nobody who lists, and the others are told as they are."""
    write_segment(tmp_path, [b"x"], number=1)
    (tmp_path / "w-0-00000000000005-1-000000.seg").symlink_to(tmp_path)
    unreadable, sound = list_segments(tmp_path)
    assert (unreadable.worker, unreadable.schema_version) == ("w-0", 0)
    assert sound.schema_version == 1


def test_space_of_a_dead_writer_is_given_back(tmp_path: Path) -> None:
    """What it took ahead is free again, no byte changes; a living writer keeps its space."""
    disk = Disk()
    segment = SegmentFile(tmp_path, "w-0-00000000000005-1", 0, 5, disk=disk, room_bytes=CHUNK_BYTES)
    batch = bytearray()
    end = segment.encoder.append(batch, FrameKind.FEEDBACK, b"payload")
    assert segment.append(batch, [end]) == 1
    before = segment.path.read_bytes()
    assert segment.path.stat().st_blocks * 512 > CHUNK_BYTES // 2
    assert not give_back(segment.path)
    os.close(segment.descriptor)  # As SIGKILL does it.
    assert give_back(segment.path)
    assert segment.path.stat().st_blocks * 512 <= 1 << 16
    assert segment.path.read_bytes() == before
    assert not give_back(segment.path)


def test_space_taken_ahead_is_given_back_when_a_segment_is_closed(tmp_path: Path) -> None:
    """A sealed segment takes no more than its bytes."""
    segment = SegmentFile(
        tmp_path, "w-0-00000000000005-1", 0, 5, disk=Disk(), room_bytes=CHUNK_BYTES
    )
    assert segment.seal(9)
    assert segment.spare_bytes > CHUNK_BYTES // 2
    segment.close()
    assert segment.path.stat().st_blocks * 512 <= 1 << 16
