"""Files of a data directory damaged under a running gateway: it serves on, says so, and heals."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.fake_upstream import FakeUpstream
from support.faults import LightLoad, await_stored, await_that, count_all, flip
from support.running import RunningGateway

from storage.database import FILE_NAME

CONFIG = """
gateway: {{workers: 1}}
upstreams: {{up: {{url: "{url}"}}}}
routes: {{chat: {{split: {{up: 1.0}}}}}}
record: {{segment_bytes: 65536, segment_age_s: 5}}
"""


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the database from another process."""
    data_dir.mkdir()
    program = (
        "import duckdb, sys; held = duckdb.connect(sys.argv[1]);"
        " print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(data_dir / FILE_NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.kill()


def opened_by_another(data_dir: Path) -> str:
    """Try to open the database in another process; return what it says."""
    command = [sys.executable, "-c", "import duckdb, sys; duckdb.connect(sys.argv[1])"]
    command.append(str(data_dir / FILE_NAME))
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


class Faults:
    """One gateway with its clients, to which one thing after the other is done.

    Attributes
    ----------
    served : dict
        Fault to the numbers of requests answered and failed meanwhile.
    """

    def __init__(self, gateway: RunningGateway, load: LightLoad) -> None:
        self.gateway = gateway
        self.load = load
        self.database = gateway.data_dir / FILE_NAME
        self.served: dict[str, tuple[int, int]] = {}

    def suffer(self, name: str, harm: Callable[[], object], said: str) -> None:
        """Do harm, and wait until it was said and every answer before and since has its row."""
        ledger = self.load.ledger
        answered, failed = ledger.answered.total(), ledger.failed.total()
        seen = len(self.gateway.log)
        harm()
        self.await_said(said, seen)
        await_stored(self.gateway, self.load)
        self.served[name] = (
            ledger.answered.total() - answered,
            ledger.failed.total() - failed,
        )

    def await_said(self, said: str, seen: int) -> None:
        """Wait for words in the log behind a place."""
        await_that(lambda: said in self.gateway.log[seen:], self.gateway, f"never said `{said}`")

    def kill_control(self) -> None:
        """Send SIGKILL to the control plane."""
        self.gateway.child("_control").send_signal(signal.SIGKILL)

    def rebuild(self) -> None:
        """Have an export made, and the database anew from it."""
        url = f"{self.gateway.control_url}/api/v1/db/rebuild"
        httpx2.post(url, timeout=30).raise_for_status()

    def overwrite(self) -> None:
        """Fill the database with zeros; kill the control plane in the middle of the restore."""
        seen = len(self.gateway.log)
        self.database.write_bytes(bytes(self.database.stat().st_size))
        self.await_said("restoring the database", seen)
        self.kill_control()

    def flip_log(self) -> None:
        """Flip bytes of the write-ahead log, and kill the only process that has its content."""
        flip(self.database.with_name(f"{FILE_NAME}.wal"), 0.3)
        self.kill_control()

    def spoil_archive(self) -> None:
        """Cut the newest facts of the archive, then delete the database."""
        facts = (self.database.parent / "archive").glob("facts/*/predictions-*.parquet")
        newest = max(facts, key=lambda path: path.stat().st_mtime_ns)
        os.truncate(newest, newest.stat().st_size - 1)
        self.database.unlink()

    def hide_segment(self) -> None:
        """Make the newest segment unreadable, for root as well: a link to itself, for a while."""
        newest = max((self.database.parent / "spool").glob("w0-*.seg*"))
        hidden = newest.with_name("hidden")
        seen = len(self.gateway.log)
        newest.rename(hidden)
        newest.symlink_to(newest)
        self.await_said("cannot be read; it is tried again", seen)
        hidden.replace(newest)


def run_faults(gateway: RunningGateway, load: LightLoad, control: int) -> Faults:
    """Do everything to one gateway; until a kill it is the same control plane throughout."""
    faults = Faults(gateway, load)
    metrics = f"{gateway.control_url}/metrics"
    faults.suffer("segment unreadable", faults.hide_segment, "cannot be read")
    assert "Conflicting lock" in opened_by_another(gateway.data_dir)
    faults.suffer("deleted", faults.database.unlink, "was deleted")
    assert "driftgate_ingest_failures_total 1.0" in httpx2.get(metrics).text
    faults.rebuild()
    faults.suffer("archive damaged", faults.spoil_archive, "going on from the export before")
    assert gateway.child("_control").pid == control
    faults.suffer("overwritten", faults.overwrite, "was overwritten")
    faults.suffer("write-ahead log flipped", faults.flip_log, "the database was damaged")
    return faults


def start_held(data_dir: Path, config: str, stack: ExitStack) -> tuple[RunningGateway, LightLoad]:
    """Start while another process holds the database; return when that is over."""
    with held(data_dir):
        gateway = stack.enter_context(RunningGateway(data_dir, config))
        load = stack.enter_context(LightLoad(gateway.data_url))
        said = "is held by another process"
        await_that(lambda: said in gateway.log, gateway, f"never said `{said}`")
    await_stored(gateway, load)
    return gateway, load


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what one data directory went through, under load all the time."""
    data_dir = tmp_path_factory.mktemp("faults") / "data"
    with FakeUpstream() as upstream:
        config = CONFIG.format(url=upstream.url)
        with ExitStack() as stack:
            gateway, load = start_held(data_dir, config, stack)
            processes = worker_of(gateway), gateway.child("_control").pid
            faults = run_faults(gateway, load, processes[1])
            assert worker_of(gateway) == processes[0]
        assert gateway.process.returncode == 0, gateway.log
        told = {"served": faults.served, "ledger": load.ledger, "log": gateway.log}
        told["first"] = count_all(data_dir)
        (data_dir / FILE_NAME).unlink()
        with RunningGateway(data_dir, config) as gateway:
            await_stored(gateway, load)
        assert gateway.process.returncode == 0, gateway.log
        told["second"] = count_all(data_dir)
        return told


def worker_of(gateway: RunningGateway) -> int:
    """Return the process that serves."""
    return int(gateway.child("_worker").pid)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_requests_are_answered_all_the_while(story: dict[str, Any]) -> None:
    """Whatever happens to the files of the log, no request fails, and none waits for it."""
    for fault, (answered, failed) in story["served"].items():
        assert (answered > 0, failed) == (True, 0), fault


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("when", ["first", "second"])
def test_every_answer_stands_once_with_its_text(when: str, story: dict[str, Any]) -> None:
    """After faults under load, and after a deletion while stopped: nothing lost, nothing twice."""
    counted, ledger = story[when], story["ledger"]
    assert set(ledger.acknowledged) <= counted["ids"] >= ledger.begun
    assert counted["rows"] == len(counted["ids"])
    assert counted["texts"] == (counted["rows"], counted["rows"])
    assert (counted["without_text"], counted["losses"]) == (0, [])
    assert counted["rollups"] == counted["facts"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_damaged_files_are_kept_and_told(story: dict[str, Any]) -> None:
    """Each file that was set aside is there, and the log says where."""
    aside = [name for name in story["first"]["aside"] if not name.endswith(".wal")]
    assert len(aside) >= 2
    for fault in ("overwritten", "write-ahead log flipped"):
        assert fault in story["served"]
    told = [name for name in aside if name in story["log"]]
    assert len(told) >= 2, story["log"]
