"""A whole gateway, started as its users start it: `python -m driftgate serve`."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import psutil

ROOT = Path(__file__).resolve().parents[2]
_DATA_URL = re.compile(r"driftgate serves (http://\S+)/v1")
_CONTROL_URL = re.compile(r"control\s+(http://\S+)/ ")


class RunningGateway:
    """Context manager around the supervisor's process.

    Attributes
    ----------
    data_url, control_url : str
        Without a path; known once the banner has been printed.
    """

    def __init__(
        self,
        data_dir: Path,
        config: str | None,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        ready_timeout_s: float = 60.0,
    ) -> None:
        self.data_dir = data_dir
        self.config_path = data_dir.parent / f"{data_dir.name}.yaml"
        if config is not None:
            self.config_path.write_text(config)
        self._has_config = config is not None
        self._environ = environ
        self._arguments = arguments
        self._ready_timeout_s = ready_timeout_s
        self._lines: list[str] = []
        self.data_url = self.control_url = ""
        self.banner_s = 0.0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "driftgate", "serve", "--data-dir", str(self.data_dir)]
        command += ["--port", "0", "--control", "127.0.0.1:0", *self._arguments]
        if self._has_config:
            command += ["--config", str(self.config_path)]
        environ = {
            k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "DRIFTGATE_"))
        }
        environ |= {"PYTHONPATH": str(ROOT), **(self._environ or {})}
        started_s = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env=environ,
            cwd=self.data_dir.parent,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._await_banner()
            self.banner_s = time.monotonic() - started_s
            self.await_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        """Return everything written to stderr so far."""
        return "".join(self._lines)

    def _await_banner(self) -> None:
        deadline_s = time.monotonic() + self._ready_timeout_s
        while time.monotonic() < deadline_s:
            data, control = _DATA_URL.search(self.log), _CONTROL_URL.search(self.log)
            if data and control:
                self.data_url, self.control_url = data[1], control[1]
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"no banner; the gateway said:\n{self.log}")

    def await_ready(self) -> None:
        """Wait until `/readyz` says so."""
        deadline_s = time.monotonic() + self._ready_timeout_s
        while time.monotonic() < deadline_s:
            try:
                if httpx2.get(f"{self.data_url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"never ready; the gateway said:\n{self.log}")

    def child(self, name: str) -> psutil.Process:
        """Return the process of a child: `_worker`, `_control` or `_engine`."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            for child in psutil.Process(self.process.pid).children():
                try:
                    if name in child.cmdline():
                        return child
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.01)
        raise AssertionError(f"no child `{name}`; the gateway said:\n{self.log}")

    def terminate(self, timeout_s: float = 60.0) -> int:
        """Send SIGTERM and wait; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        children = (
            psutil.Process(self.process.pid).children(recursive=True)
            if self.process.poll() is None
            else []
        )
        if self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
