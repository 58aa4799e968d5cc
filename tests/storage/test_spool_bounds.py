"""What bounds the spool besides its disk: the quota, and clocks that jump."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from support.faulty_disk import FaultyDisk

from storage.config import RecordConfig
from storage.errors import SpoolUnavailable
from storage.frames import FrameKind, decode_end
from storage.records import Begin, End, Payload, Prediction, WorkerStats
from storage.segments import list_segments, read_frames
from storage.spool import Spool

QUOTA = 1 << 20
BEGIN = Begin("i", 5, "chat", "a", "u", "m", "openai", "chat", "t")
FACTS = Prediction("i", 5, "chat", "a", "u", "m", "openai", "chat", "t", 200, 0.5, 0.25, 0.25)
END = End(FACTS, (), Payload(b"question", b"answer"))
Opener = Callable[..., Spool]


class Now:
    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def now() -> Now:
    """Give a clock that stands still."""
    return Now()


@pytest.fixture
def disk() -> FaultyDisk:
    """Give a disk that fails when told to."""
    return FaultyDisk()


@pytest.fixture
def opened(tmp_path: Path, now: Now, disk: FaultyDisk) -> Iterator[Opener]:
    """Give what opens a spool with a quota of one MiB; it is closed at the end."""
    made: list[Spool] = []

    def opener(**settings: object) -> Spool:
        config = RecordConfig.model_validate({"spool_bytes": QUOTA} | settings)
        made.append(Spool.open(tmp_path, worker="w0", config=config, now_us=now, disk=disk))
        return made[-1]

    yield opener
    for spool in made:
        spool.close()


def ends_in(directory: Path) -> list[End]:
    """Return all END records of the segments."""
    return [
        decode_end(frame.payload)
        for segment in list_segments(directory)
        for frame in read_frames(segment.path).frames
        if frame.kind == FrameKind.END
    ]


def test_bodies_are_dropped_from_three_quarters_of_the_quota_on(
    tmp_path: Path, opened: Opener
) -> None:
    """Facts are still written, and the drop is counted."""
    spool = opened()
    spool.set_unread(QUOTA * 3 // 4 - 1)
    for _ in range(2):  # The first one reaches the mark.
        spool.end(END)
        assert spool.flush()
    assert [end.payload is None for end in ends_in(tmp_path)] == [False, True]
    assert (spool.statistics().payloads_dropped, spool.statistics().unlogged) == (1, 0)


def test_a_spent_quota_takes_no_new_record_but_ends_those_begun(
    tmp_path: Path, opened: Opener
) -> None:
    """`fail_open`: requests are served without a record, each counted; answered ones end."""
    spool = opened()
    spool.begin(BEGIN)
    assert spool.flush()
    spool.set_unread(QUOTA)
    assert spool.available
    spool.end(msgspec.structs.replace(END, prediction=msgspec.structs.replace(FACTS, id="new")))
    assert not spool.flush()
    spool.end(END)
    assert spool.flush()
    assert [end.prediction.id for end in ends_in(tmp_path)] == ["i"]
    assert (spool.statistics().unlogged, spool.statistics().quota_share >= 1) == (1, True)


def test_a_spent_quota_refuses_requests_when_closed(tmp_path: Path, opened: Opener) -> None:
    """`fail_closed`: no model is called, and those under way keep their facts."""
    spool = opened(on_full="fail_closed")
    spool.set_unread(QUOTA)
    assert not spool.available
    spool.end(END)
    assert spool.flush()
    assert len(ends_in(tmp_path)) == 1
    spool.feedback(b"late")
    with pytest.raises(SpoolUnavailable, match=r"record\.spool_bytes"):
        spool.flush()


def test_it_is_available_again_when_the_ingest_has_caught_up(
    tmp_path: Path, opened: Opener
) -> None:
    """The next measurement decides, without a restart."""
    spool = opened(on_full="fail_closed")
    spool.set_unread(QUOTA)
    assert not spool.available
    spool.set_unread(0)
    assert spool.available
    spool.end(END)
    assert spool.flush()
    assert ends_in(tmp_path) == [END]


def test_what_is_written_counts_before_it_is_measured(opened: Opener) -> None:
    """A second of much traffic does not run far beyond the quota."""
    spool = opened()
    spool.set_unread(QUOTA - 10)
    spool.stats(WorkerStats("w0", 7))
    assert spool.flush()
    assert spool.statistics().unread_bytes > QUOTA
    spool.begin(BEGIN)
    assert not spool.flush()


def test_without_a_quota_nothing_is_held_back(opened: Opener) -> None:
    """`null` is no bound."""
    spool = opened(spool_bytes=None)
    spool.set_unread(1 << 50)
    spool.end(END)
    assert spool.flush()
    assert (spool.statistics().quota_share, spool.statistics().payloads_dropped) == (0.0, 0)


def test_a_clock_that_goes_back_opens_a_new_segment(opened: Opener, now: Now) -> None:
    """Else the segment would be kept open until the clock is where it was."""
    spool = opened(segment_age_s=10.0)
    now.us -= 3_600_000_000
    for segments in (2, 2):  # The first write rotates, the next one has no reason to.
        spool.begin(BEGIN)
        spool.flush()
        assert spool.statistics().segments == segments
    now.us += 10_000_000
    spool.begin(BEGIN)
    spool.flush()
    assert spool.statistics().segments == 3


def test_a_clock_that_goes_back_does_not_put_off_recovery(
    opened: Opener, now: Now, disk: FaultyDisk
) -> None:
    """A failing disk is tried again although the last try lies in the future."""
    spool = opened(on_full="fail_closed")
    disk.room_bytes = 0
    spool.end(END)
    with pytest.raises(SpoolUnavailable):
        spool.flush()
    assert not spool.available
    disk.heal()
    now.us -= 3_600_000_000
    assert spool.available


def test_rotation_that_failed_is_tried_again_when_the_clock_went_back(
    opened: Opener, now: Now, disk: FaultyDisk
) -> None:
    """The age is over, no file can be made, then the clock is set back."""
    spool = opened(segment_age_s=10.0)
    now.us += 10_000_000
    disk.can_create = False
    spool.begin(BEGIN)
    assert spool.flush()
    assert spool.statistics().segments == 1
    disk.heal()
    now.us -= 3_600_000_000
    spool.begin(BEGIN)
    assert spool.flush()
    assert spool.statistics().segments == 2


def test_where_no_space_can_be_taken_ahead_frames_are_written_all_the_same(
    tmp_path: Path, opened: Opener, disk: FaultyDisk
) -> None:
    """Some file systems do not know how."""
    disk.can_allocate = False
    spool = opened()
    spool.end(END)
    assert spool.flush()
    assert spool.statistics().spare_bytes == 0
    assert ends_in(tmp_path) == [END]


def test_little_space_is_taken_ahead_where_little_is_left(opened: Opener, disk: FaultyDisk) -> None:
    """A sixteenth of what is free, so that the spool does not fill a small disk itself."""
    disk.free = 4 << 20
    spool = opened()
    spool.end(END)
    assert spool.flush()
    assert 0 < spool.statistics().spare_bytes <= (4 << 20) // 16


def test_a_new_segment_is_safe_once_its_name_is(opened: Opener, disk: FaultyDisk) -> None:
    """Durability `disk`: the directory is synced until that went well, then never again."""
    spool = opened(durability="disk")
    disk.can_sync_names = False

    async def log_three() -> list[bool]:
        logged = []
        for _ in range(3):
            spool.end(END)
            logged.append(await spool.flushed())
            disk.heal()
        return logged

    assert asyncio.run(log_three()) == [False, True, True]
    assert (disk.synced_names, spool.statistics().failed_syncs) == (1, 1)
