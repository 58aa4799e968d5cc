"""Starts the engine's process as the supervisor would, on a Unix socket."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx2

from gateway.engine_process import engine_environment
from local_engine.config import EngineConfig

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
from gateway.engine_process import run_engine
from local_engine.config import EngineConfig
listen = int(sys.argv[1]) if sys.argv[1].isdigit() else Path(sys.argv[1])
sys.exit(run_engine(listen, EngineConfig.model_validate_json(sys.argv[2]), sys.argv[3]))
"""
_CONFIG = EngineConfig(slots=2, context_tokens=256, threads=1, embedding_tokens=64)


class EngineProcess:
    """One engine process; use as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        model: str = "smollm2-135m-instruct",
        environment: dict[str, str] | None = None,
        memory_bytes: int | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.socket = folder / "e.sock"
        self._log = folder / "engine.log"
        given = engine_environment(os.environ) if environment is None else environment
        config = _CONFIG.model_copy(update={"memory_bytes": memory_bytes}).model_dump_json()
        passed = (listener.fileno(),) if listener else ()
        listen = str(listener.fileno() if listener else self.socket)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, listen, config, model],
                cwd=_ROOT,
                env=given,
                stderr=log,
                pass_fds=passed,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Return what it has written to stderr."""
        return self._log.read_text()

    def client(self) -> httpx2.Client:
        """Return an HTTP client that is connected to it."""
        transport = httpx2.HTTPTransport(uds=str(self.socket))
        return httpx2.Client(transport=transport, base_url="http://engine", timeout=30)

    def wait_listening(self) -> None:
        """Wait until it accepts connections."""
        deadline_s = time.monotonic() + 30
        while not self._accepts():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline_s, self.log
            time.sleep(0.01)

    def wait_ready(self) -> None:
        """Wait until the model is loaded."""
        self.wait_listening()
        deadline_s = time.monotonic() + 30
        with self.client() as client:
            while client.get("/healthz").status_code != 200:
                assert time.monotonic() < deadline_s, self.log
                time.sleep(0.02)

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0
