"""Processes under measurement: started for a run, ended with it; their CPU and memory."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def cpu_s(pids: Sequence[int]) -> float:
    """Return user and system seconds of processes, so far, all threads that ever ran included.

    Read from the kernel's clock of each process (`clock_getcpuclockid(3)`), which counts
    nanoseconds; /proc/PID/stat counts hundredths of a second.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def rss_bytes(pids: Sequence[int]) -> int:
    """Return the resident memory of processes, pages that they share counted in each."""
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    root = psutil.Process(pid)
    return [pid, *(child.pid for child in root.children(recursive=True))]


@contextmanager
def running(
    command: Sequence[str],
    *,
    port: int | None,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; enter when it listens, at once without a port."""
    # So that the block also ends, and its servers with it, when `timeout` stops a benchmark.
    signal.signal(signal.SIGTERM, _leave)
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if port is not None:
            await_port(port, process, timeout_s)
        yield process
    finally:
        end(process)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def end(process: subprocess.Popen[bytes], timeout_s: float = 20.0) -> None:
    """Stop a process, and whatever it leaves of its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def await_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 30.0) -> None:
    """Wait until a port answers."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing listens on port {port} after {timeout_s:g} s")
