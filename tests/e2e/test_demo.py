import faulthandler
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOW_S = 200.0


class Demo:
    """A running `monitor demo`; stderr and stdout go to files."""

    def __init__(self, folder: Path, temporary: str, *arguments: str) -> None:
        self._err, self._out = folder / "err.txt", folder / "out.txt"
        environ = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
        with self._err.open("wb") as err, self._out.open("wb") as out:
            self.process = psutil.Popen(
                [sys.executable, "-m", "driftgate", "demo", "--requests", "60", *arguments],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def told(self) -> str:
        """Return what it told so far."""
        return self._err.read_text()

    @property
    def report(self) -> str:
        """Return what it wrote to stdout so far."""
        return self._out.read_text()

    def wait_for(self, text: str, timeout_s: float) -> None:
        """Wait until it has told something."""
        deadline_s = time.monotonic() + timeout_s
        while text not in self.told:
            assert self.process.poll() is None, self.told
            assert time.monotonic() < deadline_s, self.told
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> tuple[int, list[psutil.Process]]:
        """Send a signal; return the exit code and those of its processes that are left."""
        children = self.process.children(recursive=True)
        assert len(children) >= 4, children
        self.process.send_signal(number)
        code = self.process.wait(60)
        return code, psutil.wait_procs(children, timeout=2)[1]


@pytest.fixture
def temporary() -> Iterator[str]:
    """Its own place for temporary files: what is left over is found; short, for sockets' paths."""
    with tempfile.TemporaryDirectory(prefix="dg-") as folder:
        yield folder


@contextmanager
def _demo(folder: Path, temporary: str, *arguments: str) -> Iterator[Demo]:
    demo = Demo(folder, temporary, *arguments)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            family = [*demo.process.children(recursive=True), demo.process]
            for process in family:
                process.kill()
            psutil.wait_procs(family, timeout=10)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_whole_show_happens_and_the_server_stays(tmp_path: Path, temporary: str) -> None:
    """Canary, outage without errors, drift, a verified webhook, a report; then Ctrl-C ends it."""
    # It takes about a minute, which is no reason for a dump of every thread.
    faulthandler.cancel_dump_traceback_later()
    with _demo(tmp_path, temporary, "--keep", "--data-dir", str(tmp_path / "data")) as demo:
        demo.wait_for("The server goes on", SHOW_S)
        told = demo.told
        assert re.search(r"25 answered, 0 errors; by .*`candidate` \d", told)
        assert "killed `steady`" in told
        assert re.search(r"the embedded engine answered [1-9]\d*, no client saw an error", told)
        assert re.search(r"webhook after \d+\.\d s, signature verified", told)
        assert re.search(r"drift\.opened .* route `chat`", told)
        assert re.search(r"^ chat +(all +)?language +drift", demo.report, re.MULTILINE)
        page = re.search(r"web page +(http://\S+)", told)
        assert page is not None
        assert httpx2.get(page[1]).status_code == 200
        code, left = demo.end(signal.SIGINT)
        assert (code, left) == (0, [])
        assert (tmp_path / "data" / "driftgate.duckdb").is_file()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_signal_in_the_middle_clears_everything_away(tmp_path: Path, temporary: str) -> None:
    """Every process ends, no temporary file is left, and the exit code says it was not all."""
    with _demo(tmp_path, temporary) as demo:
        demo.wait_for("2. Usual traffic", 60)
        code, left = demo.end(signal.SIGTERM)
        assert (code, left) == (1, [])
        assert list(Path(temporary).iterdir()) == []
