"""What is left of a worker that has met every row: all of it, and nothing else."""

import contextlib
import ctypes
import gc
import time
from pathlib import Path

import psutil
import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.kit import ALIVE, CONFIG, HostileWorker, Wire, post
from support.hostile.sound import sound
from support.hostile.table import ROWS

from gateway.heartbeat import EVERY_S
from gateway.server_state import LINGER_S
from storage.frames import FrameKind, decode_stats
from storage.records import WorkerStats
from storage.segments import list_segments, read_frames

ROUNDS = 3
WARM = 2  # after so many rounds every cache and pool has its size
GROWTH_BYTES = 8 * 1024 * 1024


def _resident_bytes() -> int:
    """Return this process's memory, after giving back what nobody uses."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def _play_all(port: int, upstream: FakeUpstream) -> None:
    """Play every row; what they answer is judged elsewhere."""
    for row in ROWS:
        wire = Wire(port, head=row.head)
        with contextlib.suppress(TimeoutError):
            wire.talk(row.data, answers=len(row.expect) or None, bound_s=0.5)
        wire.close()
        upstream.requests.clear()


def _last_stats(worker: HostileWorker) -> WorkerStats:
    """Return the newest STATS, once one was measured from now on."""
    time.sleep(LINGER_S + 2 * EVERY_S)
    found: list[WorkerStats] = []
    for segment in list_segments(worker.data_dir / "spool"):
        offset, read = -1, read_frames(segment.path, 0)
        while read.next_offset != offset:
            found += [
                decode_stats(frame.payload, segment.schema_version)
                for frame in read.frames
                if frame.kind == FrameKind.STATS
            ]
            offset = read.next_offset
            read = read_frames(segment.path, offset)
    return max(found, key=lambda stats: stats.at)


@pytest.mark.slow
def test_rows_leave_nothing_behind(tmp_path: Path) -> None:
    """Memory does not grow from round to round; no request, connection or pool slot is held."""
    with (
        FakeUpstream(sound) as upstream,
        HostileWorker(tmp_path, CONFIG.format(url=upstream.url)) as worker,
    ):
        sizes = []
        for _ in range(ROUNDS):
            _play_all(worker.port, upstream)
            sizes.append(_resident_bytes())
        stats = _last_stats(worker)
        assert (stats.in_flight, stats.open_connections) == (0, 0)
        assert stats.pools["a"][0] == 0
        wire = Wire(worker.port)
        heard = wire.talk(ALIVE + post(), answers=2)
        wire.close()
        assert [answer.status for answer in heard.answers] == [200, 200]
    assert sizes[-1] - sizes[WARM - 1] < GROWTH_BYTES, sizes
