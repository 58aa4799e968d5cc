import asyncio
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from storage.config import RecordConfig
from storage.errors import SpoolUnavailable
from storage.frames import Frame, FrameKind, decode_begin, decode_end, decode_stats
from storage.records import Begin, End, Payload, Prediction, WorkerStats
from storage.segments import list_segments, read_frames, source_is_gone, writer_is_gone
from storage.spool import Spool

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("spool_programs.py")
BEGIN = Begin("i", 5, "chat", "a", "u", "m", "openai", "chat", "t")
FACTS = Prediction("i", 5, "chat", "a", "u", "m", "openai", "chat", "t", 200, 0.5, 0.25, 0.25)
END = End(FACTS, (), Payload(b"question" * 100, b"answer" * 100))


class Now:
    def __init__(self) -> None:
        self.us = 1_000_000

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def now() -> Now:
    """Give a clock that stands still."""
    return Now()


def opened(directory: Path, now: Now, **settings: object) -> Spool:
    """Open a spool of worker w0."""
    config = RecordConfig.model_validate(settings)
    return Spool.open(directory, worker="w0", config=config, now_us=now)


def begin(number: int) -> Begin:
    """Return a BEGIN that can be told from others."""
    return msgspec.structs.replace(BEGIN, id=f"r{number}")


def frames_in(directory: Path) -> list[Frame]:
    """Read all segments whole, and see to it that nothing was skipped."""
    found = []
    for segment in list_segments(directory):
        read = read_frames(segment.path, 0, 1 << 30)
        assert (read.skipped_bytes, read.unread_bytes) == (0, 0)
        found += read.frames
    return found


def ids_in(directory: Path) -> list[str]:
    """Return the ids of all BEGIN frames."""
    return [
        decode_begin(frame.payload).id
        for frame in frames_in(directory)
        if frame.kind == FrameKind.BEGIN
    ]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_every_record_is_read_back_as_it_was(tmp_path: Path, now: Now) -> None:
    """BEGIN, END, STATS and FEEDBACK, then the seal."""
    spool = opened(tmp_path, now)
    stats = WorkerStats("w0", 7)
    spool.begin(BEGIN)
    spool.end(END)
    spool.stats(stats)
    spool.feedback(b"good")
    assert spool.flush()
    spool.close()
    first, second, third, fourth, seal = frames_in(tmp_path)
    assert decode_begin(first.payload) == BEGIN
    assert decode_end(second.payload) == END
    assert decode_stats(third.payload) == stats
    assert (fourth.kind, fourth.payload) == (FrameKind.FEEDBACK, b"good")
    assert seal.kind == FrameKind.SEAL


def test_requests_of_one_loop_turn_share_one_write(tmp_path: Path, now: Now) -> None:
    """Fifty requests, fifty acknowledgements, one `write(2)`."""
    spool = opened(tmp_path, now)

    async def serve(number: int) -> bool:
        spool.begin(begin(number))
        return await spool.flushed()

    async def serve_all() -> list[bool]:
        return list(await asyncio.gather(*[serve(number) for number in range(50)]))

    assert asyncio.run(serve_all()) == [True] * 50
    assert (spool.statistics().writes, spool.statistics().written_frames) == (1, 50)
    assert ids_in(tmp_path) == [f"r{number}" for number in range(50)]
    spool.close()


def test_frames_are_written_at_the_turn_without_anyone_waiting(tmp_path: Path, now: Now) -> None:
    """STATS and the records of cancelled requests need no `flushed`."""
    spool = opened(tmp_path, now)

    async def serve() -> None:
        waiting = asyncio.get_running_loop().create_task(spool.flushed())
        spool.begin(begin(1))
        waiting.cancel()
        spool.begin(begin(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(serve())
    assert ids_in(tmp_path) == ["r1", "r2"]
    spool.close()


def test_a_cancelled_request_does_not_disturb_the_others(tmp_path: Path, now: Now) -> None:
    """One of two that wait for the same write is cancelled; the other gets its answer."""
    spool = opened(tmp_path, now)

    async def serve() -> bool:
        loop = asyncio.get_running_loop()
        spool.begin(begin(1))
        first, second = loop.create_task(spool.flushed()), loop.create_task(spool.flushed())
        loop.call_soon(first.cancel)
        return await second

    assert asyncio.run(serve())
    spool.close()


def test_a_large_queue_is_written_before_the_turn_ends(tmp_path: Path, now: Now) -> None:
    """The queue has a bound, and `statistics` tells it."""
    spool = opened(tmp_path, now)
    body = bytes(1 << 20)
    for _ in range(20):
        spool.end(End(FACTS, (), Payload(body, b"")))
        statistics = spool.statistics()
        assert statistics.queued_bytes < statistics.queue_limit_bytes
    assert spool.statistics().writes == 2
    spool.close()
    assert len(frames_in(tmp_path)) == 21


def test_segments_rotate_by_size_without_losing_order(tmp_path: Path, now: Now) -> None:
    """All but the open segment are sealed and unlocked; the numbers go up."""
    spool = opened(tmp_path, now, segment_bytes=65_536)
    for number in range(2000):
        spool.begin(begin(number))
        spool.flush()
    segments = list_segments(tmp_path)
    assert len(segments) == spool.statistics().segments >= 2
    assert [segment.number for segment in segments] == list(range(len(segments)))
    states = [read_frames(segment.path, 0, 1 << 30).state for segment in segments]
    assert states == ["sealed"] * (len(segments) - 1) + ["tail"]
    gone = [writer_is_gone(segment.path) for segment in segments]
    assert gone == [True] * (len(segments) - 1) + [False]
    spool.close()
    assert ids_in(tmp_path) == [f"r{number}" for number in range(2000)]


def test_a_source_is_not_gone_while_it_moves_on(tmp_path: Path, now: Now) -> None:
    """The free lock of a segment that was the last one is not taken for the writer's end."""
    spool = opened(tmp_path, now, segment_age_s=10.0)
    (first,) = list_segments(tmp_path)
    now.us += 10_000_000
    spool.begin(BEGIN)
    spool.flush()
    assert writer_is_gone(first.path)
    assert not source_is_gone(tmp_path, first.source)
    spool.close()
    assert source_is_gone(tmp_path, first.source)


def test_segments_rotate_by_age(tmp_path: Path, now: Now) -> None:
    """The first write behind the age opens the next segment."""
    spool = opened(tmp_path, now, segment_age_s=10.0)
    for us in (0, 9_999_999, 10_000_000):
        now.us = 1_000_000 + us
        spool.begin(BEGIN)
        spool.flush()
        assert spool.statistics().segments == (2 if us == 10_000_000 else 1)
    spool.close()


def test_two_spools_of_one_moment_have_different_sources(tmp_path: Path, now: Now) -> None:
    """Same worker, process and clock: the second does not touch the first one's file."""
    first, second = opened(tmp_path, now), opened(tmp_path, now)
    first.begin(begin(1))
    second.begin(begin(2))
    first.close()
    second.close()
    assert len({segment.source for segment in list_segments(tmp_path)}) == 2
    assert ids_in(tmp_path) == ["r1", "r2"]


def test_a_write_that_stops_inside_a_frame_goes_on_in_a_new_segment(
    tmp_path: Path, now: Now
) -> None:
    """The file cannot grow: the piece is taken back, no record is lost, doubled or cut."""
    spool = opened(tmp_path, now)
    with file_size_limit(1000):
        for number in range(4):
            for _ in range(5):
                spool.begin(begin(number))
            assert spool.flush()
    assert spool.statistics().segments > 1
    assert (spool.statistics().lost_frames, spool.statistics().full) == (0, False)
    spool.close()
    assert ids_in(tmp_path) == [f"r{number}" for number in range(4) for _ in range(5)]


def test_a_broken_file_is_left_for_a_new_segment(tmp_path: Path, now: Now) -> None:
    """A descriptor that takes no bytes costs no record, bodies included."""
    spool = opened(tmp_path, now)
    segment = spool._log.segment
    assert segment is not None
    reading, writing = os.pipe()
    os.dup2(reading, segment.descriptor)
    spool.end(END)
    assert spool.flush()
    spool.close()
    os.close(reading)
    os.close(writing)
    found = [frame for frame in frames_in(tmp_path) if frame.kind == FrameKind.END]
    assert [decode_end(frame.payload) for frame in found] == [END]


@pytest.mark.parametrize("policy", ["fail_open", "fail_closed"])
def test_what_cannot_be_written_is_told_by_policy(tmp_path: Path, now: Now, policy: str) -> None:
    """No file can be written at all: False or an error, and the record is counted."""
    spool = opened(tmp_path, now, on_full=policy)

    async def serve() -> bool:
        spool.begin(BEGIN)
        spool.end(END)
        return await spool.flushed()

    with file_size_limit(0):
        if policy == "fail_open":
            assert asyncio.run(serve()) is False
        else:
            with pytest.raises(SpoolUnavailable, match="fail_closed"):
                asyncio.run(serve())
    statistics = spool.statistics()
    assert (statistics.unlogged, statistics.lost_frames, statistics.full) == (1, 2, True)
    assert spool.available is (policy == "fail_open")
    spool.close()


def test_it_recovers_when_files_can_be_written_again(tmp_path: Path, now: Now) -> None:
    """One second later the records are complete again, without a restart."""
    spool = opened(tmp_path, now, on_full="fail_closed")
    spool.end(END)
    with file_size_limit(0), pytest.raises(SpoolUnavailable):
        spool.flush()
    assert not spool.available
    now.us += 1_000_000
    assert spool.available
    spool.end(END)
    assert spool.flush()
    spool.close()
    found = [frame for frame in frames_in(tmp_path) if frame.kind == FrameKind.END]
    assert [decode_end(frame.payload) for frame in found] == [END]


def test_text_without_an_encoding_is_logged_all_the_same(tmp_path: Path, now: Now) -> None:
    """A client that sends a lone surrogate or an upstream's absurd count evades no log."""
    spool = opened(tmp_path, now)
    spool.begin(msgspec.structs.replace(BEGIN, model_asked="m\ud800", request_bytes=1 << 70))
    assert spool.flush()
    spool.close()
    found = decode_begin(frames_in(tmp_path)[0].payload)
    assert (found.model_asked, found.request_bytes) == ("m?", (1 << 63) - 1)


def test_bodies_beyond_any_limit_are_dropped_not_their_facts(tmp_path: Path, now: Now) -> None:
    """A frame that no reader would accept is written without its bodies."""
    spool = opened(tmp_path, now)
    spool.end(End(FACTS, (), Payload(bytes(65 << 20), b"")))
    assert spool.flush()
    assert spool.statistics().payloads_dropped == 1
    spool.close()
    assert decode_end(frames_in(tmp_path)[0].payload) == End(FACTS)


def test_a_closed_spool_counts_what_comes_late(tmp_path: Path, now: Now) -> None:
    """Nothing is lost in silence, and closing twice is once."""
    spool = opened(tmp_path, now)
    spool.close()
    spool.close()
    spool.end(END)
    assert spool.flush() is False
    assert spool.statistics().unlogged == 1
    assert [frame.kind for frame in frames_in(tmp_path)] == [FrameKind.SEAL]


def test_with_durability_disk_all_waiters_are_answered(tmp_path: Path, now: Now) -> None:
    """Group after group, rotation included, each request is acknowledged."""
    spool = opened(tmp_path, now, durability="disk", segment_bytes=65_536, on_full="fail_closed")

    async def serve(number: int) -> bool:
        spool.end(msgspec.structs.replace(END, prediction=FACTS))
        await spool.flushed()
        spool.begin(begin(number))
        return await spool.flushed()

    async def serve_all() -> list[bool]:
        return list(await asyncio.gather(*[serve(number) for number in range(100)]))

    assert asyncio.run(serve_all()) == [True] * 100
    spool.close()
    assert spool.statistics().segments > 1
    assert sorted(ids_in(tmp_path)) == sorted(f"r{number}" for number in range(100))
    assert all(writer_is_gone(segment.path) for segment in list_segments(tmp_path))


def test_a_slow_sync_is_counted_not_waited_for(tmp_path: Path, now: Now) -> None:
    """The thread that syncs is held up: `fail_open` answers at its deadline."""
    spool = opened(tmp_path, now, durability="disk")
    held = threading.Event()
    sync = spool._log.sync
    assert sync is not None
    sync._executor.submit(held.wait, 20)

    async def serve() -> bool:
        spool.begin(BEGIN)
        try:
            return await spool.flushed()
        finally:
            held.set()

    assert asyncio.run(serve())
    assert spool.statistics().late_syncs == 1
    spool.close()


def test_a_failed_sync_is_no_acknowledgement(tmp_path: Path, now: Now) -> None:
    """What cannot be synced is not called safe, and the next record goes to a new segment."""
    spool = opened(tmp_path, now, durability="disk")
    segment = spool._log.segment
    assert segment is not None
    reading, writing = os.pipe()
    os.dup2(writing, segment.descriptor)

    async def serve() -> bool:
        spool.begin(BEGIN)
        return await spool.flushed()

    async def serve_twice() -> None:
        assert await serve() is False
        assert spool.statistics().failed_syncs == 1
        assert await serve() is True

    asyncio.run(serve_twice())
    assert spool.statistics().segments == 2
    spool.close()
    os.close(reading)
    os.close(writing)


def test_a_directory_that_cannot_be_written_is_an_error_with_a_way_out(
    tmp_path: Path, now: Now
) -> None:
    """A wrong path is told at the start, not at the first request."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolUnavailable, match=r"gateway\.data_dir"):
        opened(tmp_path / "file" / "spool", now)


def test_a_worker_name_that_is_no_file_name_is_refused(tmp_path: Path, now: Now) -> None:
    """The error names it."""
    with pytest.raises(ValueError, match="a/b"):
        Spool.open(tmp_path, worker="a/b", config=RecordConfig(), now_us=now)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path, seed: int) -> None:
    """Killed at a random moment: the lock is gone, all acknowledged frames are read."""
    limit = random.Random(seed).randrange(1, 2500)
    writer = subprocess.Popen(
        [sys.executable, str(PROGRAM), "write", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None
    with writer:
        acknowledged = [writer.stdout.readline() for _ in range(limit)]
        (source,) = {info.source for info in list_segments(tmp_path)}
        gone_before = source_is_gone(tmp_path, source)
        writer.kill()
        # The last line may be torn by the kill.
        acknowledged += [line for line in writer.stdout if line.endswith("\n")]
    assert (gone_before, source_is_gone(tmp_path, source)) == (False, True)
    found = []
    for segment in list_segments(tmp_path):
        read = read_frames(segment.path, 0, 1 << 30)
        # SIGKILL ends a write in the middle: a piece of a frame nobody was told of.
        assert read.skipped_bytes == 0
        assert read.unread_bytes == 0 or segment == list_segments(tmp_path)[-1]
        for frame in read.frames:
            if frame.kind == FrameKind.BEGIN:
                found.append(f"begin {decode_begin(frame.payload).id}\n")
            elif frame.kind == FrameKind.END:
                found.append(f"end {decode_end(frame.payload).prediction.id}\n")
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
