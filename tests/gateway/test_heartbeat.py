"""What a worker reports of itself, once a second."""

import subprocess
import sys
import time
from pathlib import Path

from support.worker import RunningWorker

from storage.frames import FrameKind, decode_stats
from storage.records import WorkerStats
from storage.segments import list_segments, read_frames

CONFIG = """
upstreams: {a: {url: "http://127.0.0.1:9/v1"}}
routes: {chat: {split: {a: 1}}}
"""


def stats_in(data_dir: Path) -> list[WorkerStats]:
    """Return every STATS in a spool so far."""
    return [
        decode_stats(frame.payload, segment.schema_version)
        for segment in list_segments(data_dir / "spool")
        for frame in read_frames(segment.path, 0).frames
        if frame.kind == FrameKind.STATS
    ]


def test_worker_reports_how_late_its_loop_was(tmp_path: Path) -> None:
    """A STATS comes every second, with the longest delay of the loop and the mean of its ticks."""
    with RunningWorker(tmp_path, CONFIG):
        deadline_s = time.monotonic() + 20
        while len(found := stats_in(tmp_path)) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.05)
    first, second = found[:2]
    assert second.at - first.at >= 900_000
    for one in found:
        assert 0 <= one.loop_lag_mean_s <= one.loop_lag_s
    # Timers have a resolution: no loop was ever in time to the nanosecond ten times in a row.
    assert first.loop_lag_s > 0
    assert (first.waiting, first.upstream_waiting) == (0, {"a": 0})


def test_a_worker_loads_no_database() -> None:
    """It writes frames; 0.2 s of start and 30 MB a worker are the control plane's alone."""
    heavy = {"duckdb", "numpy", "scipy", "polars", "fastapi", "prometheus_client"}
    probe = f"import sys, gateway.worker; sys.exit(' '.join({heavy!r} & set(sys.modules)) or 0)"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
