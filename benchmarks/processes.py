"""Processes under measurement: started for a run, ended with it, their CPU read from /proc."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

_TICKS_S = 1.0 / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def cpu_s(pids: Sequence[int]) -> float:
    """Return user and system seconds of processes, so far."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * _TICKS_S
    return total


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    root = psutil.Process(pid)
    return [pid, *(child.pid for child in root.children(recursive=True))]


@contextmanager
def running(
    command: Sequence[str], *, port: int, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; enter when it listens."""
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await_port(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
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
    raise RuntimeError(f"nothing listens on port {port}")
