import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from support.api_server import State, build_app, leave_address, serving
from support.command_line import Done, Run, leave_configuration, make_run
from support.report_log import (
    BEFORE,
    HOUR,
    HOURS,
    START,
    at,
    fill,
    known_traffic,
    opened,
    signals_of,
    steady,
)

from gateway.cli.exits import GATE_TRIPPED, GOOD, NOT_ENOUGH_DATA, UNREACHABLE, USAGE
from gateway.cli.since import iso
from monitors.config import MonitorsConfig
from monitors.schedule import MonitorRun
from router.clock import SystemClock
from storage.archive.facts import FactArchive
from storage.database import Database
from storage.repository import Repository
from storage.writer import Batch, write_batch

PERIOD = ("--since", iso(HOURS.from_us), "--until", iso(HOURS.to_us))
EMPTY = ("--since", iso(START + HOUR), "--until", iso(START + 2 * HOUR))


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Return a function that runs `monitor` in an empty folder without a configuration."""
    leave_configuration(monkeypatch, str(tmp_path_factory.mktemp("empty")))
    return make_run(capsys)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a data directory with known traffic."""
    data_dir = tmp_path / "data"
    fill(data_dir, known_traffic())
    return data_dir


@pytest.fixture
def server(log: Path) -> Iterator[str]:
    """Serve the known traffic's API; the file is held meanwhile."""
    with (
        opened(log) as database,
        serving(build_app(State(Repository(database), SystemClock()))) as url,
    ):
        yield url


def report_json(done: Done) -> dict[str, Any]:
    """Return the report on stdout."""
    assert done.code == GOOD, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_bare_file_is_read(run: Run, log: Path) -> None:
    """Data on stdout alone; the resolved interval is echoed on stderr."""
    done = run("report", *PERIOD, "--format", "json", "--data-dir", log)
    found = report_json(done)
    assert found["requests"] == 10
    assert found["data_quality"]["spool_lag_bytes"] == 0
    assert "2023-11-14T22:00:00Z to 2023-11-14T23:00:00Z (UTC)" in done.err


def test_a_table_is_the_default(run: Run, log: Path) -> None:
    """Without colour, since stdout is no terminal."""
    done = run("report", *PERIOD, "--data-dir", log)
    assert done.code == GOOD
    assert "10 requests" in done.out
    assert "\x1b" not in done.out


def test_the_archive_is_read_while_the_file_is_held(run: Run, log: Path) -> None:
    """`--offline` needs no lock; a note says as of when."""
    with opened(log) as database:
        FactArchive(database, now_us=lambda: START + HOUR).archive_now()
        done = run("report", *PERIOD, "--offline", "--format", "json", "--data-dir", log)
    found = report_json(done)
    assert found["requests"] == 10
    assert any("from the archive: what came in after 2023-11-14T23" in n for n in found["notes"])


def test_a_damaged_file_names_the_way_out(run: Run, log: Path) -> None:
    """The archive answers where the file cannot."""
    file = log / "driftgate.duckdb"
    content = bytearray(file.read_bytes())
    content[4096:12288] = bytes(8192)
    file.write_bytes(content)
    done = run("report", *PERIOD, "--data-dir", log)
    assert done.code == UNREACHABLE
    assert "--offline reads the archive" in done.err


def test_without_an_archive_there_is_no_offline_report(run: Run, log: Path) -> None:
    """Said in a sentence."""
    done = run("report", *PERIOD, "--offline", "--data-dir", log)
    assert done.code == UNREACHABLE
    assert "no archive" in done.err


def test_exact_is_asked_of_the_server(run: Run, log: Path, server: str) -> None:
    """The flag reaches the one that has the rows."""
    leave_address(log, server)
    done = run("report", *PERIOD, "--exact", "--format", "json", "--data-dir", log)
    assert report_json(done)["exact"] is True


def test_a_copied_directory_is_read(run: Run, log: Path, tmp_path: Path) -> None:
    """A copy tells the same, wherever it lies."""
    copy = tmp_path / "copy"
    shutil.copytree(log, copy)
    shutil.rmtree(log)
    done = run("report", *PERIOD, "--format", "json", "--data-dir", copy)
    assert report_json(done)["requests"] == 10


def test_a_write_ahead_log_is_read(run: Run, tmp_path: Path) -> None:
    """Rows that a killed server left in the log count."""
    data_dir, killed = tmp_path / "live", tmp_path / "killed"
    ends = [at(number, number) for number in range(7)]
    with opened(data_dir) as database:
        with database.cursor() as cursor:
            write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=START)
        # What lies on disk while the database is open is what SIGKILL leaves.
        shutil.copytree(data_dir, killed)
    assert (killed / "driftgate.duckdb.wal").stat().st_size > 0
    done = run("report", *PERIOD, "--format", "json", "--data-dir", killed)
    assert report_json(done)["requests"] == 7


def test_what_the_spool_still_holds_is_noted(run: Run, log: Path) -> None:
    """Segments that no server has taken in are counted in bytes."""
    segment = next((log / "spool").iterdir())
    (log / "spool" / segment.name.replace("w0-1-1", "w1-2-2")).write_bytes(segment.read_bytes())
    found = report_json(run("report", *PERIOD, "--format", "json", "--data-dir", log))
    assert found["data_quality"]["spool_lag_bytes"] == segment.stat().st_size
    assert any("of the spool" in note for note in found["notes"])


def test_output_goes_to_a_file(run: Run, log: Path, tmp_path: Path) -> None:
    """Then stdout stays empty."""
    target = tmp_path / "report.json"
    done = run("report", *PERIOD, "--format", "json", "--output", target, "--data-dir", log)
    assert (done.code, done.out) == (GOOD, "")
    assert json.loads(target.read_bytes())["version"] == 1


@pytest.mark.parametrize(
    ("form", "begins", "holds"),
    [
        ("html", "<!doctype html>", "Requests over time"),
        ("md", "# driftgate report, ", "| chat | candidate | primary | 2 | 0 |"),
        ("csv", "section,route,variant,role,", "timeline.steps,chat,,,,,"),
    ],
)
def test_other_formats_are_written(run: Run, log: Path, form: str, begins: str, holds: str) -> None:
    """One document on stdout; those for charts and tables have the timeline."""
    done = run("report", *PERIOD, "--format", form, "--data-dir", log)
    assert (done.code, done.out[: len(begins)], holds in done.out) == (GOOD, begins, True)


def test_a_server_makes_pages(server: str) -> None:
    """`format=html` of the API is a page that may run and fetch nothing."""
    answer = httpx2.get(
        f"{server}/api/v1/report",
        params={"since_us": HOURS.from_us, "until_us": HOURS.to_us, "format": "html"},
    )
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert "Requests over time" in answer.text


def test_details_are_asked_of_the_server(run: Run, log: Path, server: str) -> None:
    """A page has its charts, whoever has the rows."""
    leave_address(log, server)
    done = run("report", *PERIOD, "--format", "html", "--data-dir", log)
    assert "Requests over time" in done.out


def test_route_and_model_narrow(run: Run, log: Path) -> None:
    """Both are told in the report."""
    words = ("report", *PERIOD, "--format", "json", "--data-dir", log)
    assert report_json(run(*words, "--route", "other"))["requests"] == 2
    assert report_json(run(*words, "--model", "m-2"))["model"] == "m-2"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*PERIOD, "--fail-on", "errors"), GATE_TRIPPED, "chat has 2 of 8"),
        ((*PERIOD, "--fail-on", "errors:0.5"), GOOD, ""),
        ((*PERIOD, "--fail-on", "drift"), NOT_ENOUGH_DATA, "no route has a baseline"),
        ((*PERIOD, "--fail-on", "drift,errors"), GATE_TRIPPED, "more than 1.00% errors"),
        (EMPTY, NOT_ENOUGH_DATA, "no predictions"),
        (("--since", "2100-01-01"), USAGE, "lies in the future"),
        (("--since", "x"), USAGE, "is no time"),
        ((*PERIOD, "--fail-on", "slo"), NOT_ENOUGH_DATA, "no running monitor looked"),
        ((*PERIOD, "--fail-on", "weather"), USAGE, "`weather` is no gate"),
        ((*PERIOD, "--format", "pdf"), USAGE, "pdf"),
        ((*PERIOD, "--config", "none.yaml"), USAGE, "none.yaml"),
        ((*PERIOD, "--data-dir", "nowhere"), UNREACHABLE, "does not exist"),
        ((*PERIOD, "--server", "http://127.0.0.1:1"), UNREACHABLE, "cannot be reached"),
    ],
)
def test_exit_codes(run: Run, log: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """0 good, 1 tripped, 2 usage, 3 not enough data, 4 unreachable; each with a reason."""
    directory = () if "--data-dir" in arguments else ("--data-dir", log)
    done = run("report", *directory, *arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_an_empty_interval_is_still_a_report(run: Run, log: Path) -> None:
    """Scripts get JSON of zero requests beside exit code 3."""
    done = run("report", *EMPTY, "--format", "json", "--data-dir", log)
    assert (done.code, json.loads(done.out)["requests"]) == (NOT_ENOUGH_DATA, 0)


def test_a_damaged_file_is_unreachable(run: Run, tmp_path: Path) -> None:
    """Exit code 4, and what to do."""
    (tmp_path / "driftgate.duckdb").write_bytes(b"no database" * 1000)
    done = run("report", *PERIOD, "--data-dir", tmp_path)
    assert done.code == UNREACHABLE
    assert "driftgate.duckdb" in done.err


def test_the_running_server_is_asked(run: Run, log: Path, server: str) -> None:
    """Its address is found in the data directory; the file is not touched."""
    leave_address(log, server)
    found = report_json(run("report", *PERIOD, "--format", "json", "--data-dir", log))
    assert found["requests"] == 10
    assert found["data_quality"]["spool_lag_bytes"] is None


def test_a_named_server_is_asked(run: Run, server: str) -> None:
    """`--server` needs no data directory; the scheme may be left out."""
    words = ("report", *PERIOD, "--format", "json", "--server", server.removeprefix("http://"))
    assert report_json(run(*words))["requests"] == 10


def test_a_stale_address_does_not_matter(run: Run, log: Path) -> None:
    """A killed server leaves its address behind: the file is read."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    leave_address(log, f"http://127.0.0.1:{port}")
    done = run("report", *PERIOD, "--format", "json", "--data-dir", log)
    assert report_json(done)["requests"] == 10


def test_another_program_on_the_address_does_not_matter(run: Run, log: Path) -> None:
    """What answers there may be no control plane at all."""
    with serving(FastAPI()) as url:
        leave_address(log, url)
        done = run("report", *PERIOD, "--format", "json", "--data-dir", log)
    assert report_json(done)["requests"] == 10


HOLDER = """
import pathlib, sys
from storage.database import Database
held = Database.open(pathlib.Path(sys.argv[1]), now_us=lambda: 1)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_held_file_is_unreachable(run: Run, log: Path) -> None:
    """When another process holds the file and no server answers, the message says so."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", HOLDER, str(log)]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        done = run("report", *PERIOD, "--data-dir", log)
        assert holder.stdin is not None
        holder.stdin.close()
    assert done.code == UNREACHABLE
    assert "held by another process" in done.err
    assert "--server" in done.err


def test_drift_trips_its_gate(run: Run, tmp_path: Path) -> None:
    """Twice as long prompts against a baseline: exit code 1, and the features' names."""
    data_dir = tmp_path / "drifted"
    fill(data_dir, [*steady(1000, BEFORE, first=1), *steady(300, HOURS, first=5000, longer=2.0)])
    with opened(data_dir) as database:
        set_baseline(database)
    done = run("report", *PERIOD, "--data-dir", data_dir, "--fail-on", "drift:critical")
    assert done.code == GATE_TRIPPED
    assert "chat/prompt_tokens (critical)" in done.err


def set_baseline(database: Database) -> None:
    """Set the default baseline over the day before."""
    monitor = MonitorRun(Repository(database), MonitorsConfig(), (), lambda _: None)
    monitor.set_baseline("default", "chat", BEFORE, START)
