"""The engine as the supervisor's child."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from support.running import ROOT

from gateway.engine_process import engine_environment
from gateway.paths import engine_socket, run_dir


def test_child_is_confined_and_leaves_the_socket_of_its_successor(tmp_path: Path) -> None:
    """It takes its limits, and at its end removes no socket that another one has put there."""
    run_dir(tmp_path).mkdir()
    path = engine_socket(tmp_path)
    ours, theirs = socket.socketpair()
    # A hub that accepts and says nothing keeps the engine loading.
    with socket.create_server(("127.0.0.1", 0)) as hub:
        given = {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}",
            "HF_HOME": str(tmp_path),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "driftgate", "_engine", "--data-dir", str(tmp_path)]
        process = subprocess.Popen(
            [*command, "--channel", str(theirs.fileno())],
            env=engine_environment({**os.environ, **given}),
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        greeting = {"model": "hf:a/b/c.gguf", "engine": {"memory_bytes": 8 << 30}}
        ours.sendall(msgspec.json.encode({"kind": "settings", **greeting}) + b"\n")
        deadline_s = time.monotonic() + 30
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        successor = path.with_name("next.sock")
        successor.touch()
        successor.replace(path)
        ours.close()
    assert process.wait(30) == 0
    assert path.exists()
    found = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max address space"] == [str(8 << 30)] * 2
