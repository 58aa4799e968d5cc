import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from support.api_server import State, build_app, leave_address, serving
from support.command_line import Run, leave_configuration, make_run
from support.report_log import BEFORE, HOUR, HOURS, START, fill, opened, steady

from gateway.cli.exits import GOOD, NOT_ENOUGH_DATA, UNREACHABLE, USAGE
from gateway.cli.since import iso
from monitors.config import MonitorsConfig
from monitors.schedule import MonitorRun
from router.clock import SystemClock
from storage.repository import Repository

PERIOD = ("--since", iso(HOURS.from_us), "--until", iso(HOURS.to_us + HOUR))
EMPTY = ("--since", iso(START + 5 * HOUR), "--until", iso(START + 6 * HOUR))
BASELINE = {"from": iso(BEFORE.from_us), "to": iso(BEFORE.to_us)}


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Return a function that runs `monitor` in an empty folder without a configuration."""
    leave_configuration(monkeypatch, str(tmp_path_factory.mktemp("empty")))
    return make_run(capsys)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory of which a monitor has found that prompts are twice as long."""
    data_dir = tmp_path_factory.mktemp("log") / "data"
    fill(data_dir, [*steady(600, BEFORE, first=1), *steady(300, HOURS, first=1_000, longer=2.0)])
    with opened(data_dir) as database:
        config = MonitorsConfig.model_validate({"baseline": BASELINE})
        MonitorRun(Repository(database), config, ("chat",), lambda _: None).run_once(HOURS.to_us)
    return data_dir


@pytest.fixture
def url(log: Path) -> Iterator[str]:
    """Serve the log's API, and leave its address; the file is held meanwhile."""
    with (
        opened(log) as database,
        serving(build_app(State(Repository(database), SystemClock()))) as url,
    ):
        leave_address(log, url)
        yield url + "/api/v1"


@pytest.fixture(params=["file", "server"])
def anywhere(request: pytest.FixtureRequest, log: Path) -> Path:
    """Return the data directory, once without a server and once with one that holds the file."""
    if request.param == "server":
        request.getfixturevalue("url")
    return log


def test_streams_and_explanations_come_from_a_file_and_from_a_server(
    run: Run, anywhere: Path
) -> None:
    """What drifts is first; explained, it has its onset, its movers and its cause."""
    done = run("drift", *PERIOD, "--format", "json", "--data-dir", anywhere)
    assert done.code == GOOD, done.err
    state = json.loads(done.out)
    assert state["version"] == 1
    assert (state["streams"][0]["feature"], state["streams"][0]["verdict"]) == (
        "prompt_tokens",
        "drift",
    )
    done = run("drift", *PERIOD, "--explain", "--format", "json", "--data-dir", anywhere)
    assert done.code == GOOD, done.err
    (found,) = json.loads(done.out)["explanations"]
    assert found["feature"] == "prompt_tokens"
    assert found["onset"]["at"] == HOURS.from_us
    assert found["cause"].startswith("the median went from")
    assert len(found["examples"]) == 5


def test_tables_are_for_people(run: Run, log: Path) -> None:
    """Without colour, since stdout is no terminal; the interval is echoed on stderr."""
    done = run("drift", *PERIOD, "--data-dir", log)
    assert done.code == GOOD
    assert "prompt_tokens" in done.out
    assert "monitor drift --explain" in done.out
    assert "2023-11-14T22:00:00Z to" in done.err
    done = run("drift", *PERIOD, "--explain", "--deep", "--data-dir", log)
    assert "likely cause: the median went from" in done.out
    assert "anderson_darling" in done.out
    assert "\x1b" not in done.out
    id_ = done.out.partition("opens one)\n")[2].split()[0]
    assert run("logs", id_, "--data-dir", log).code == GOOD


def test_exit_codes(run: Run, log: Path) -> None:
    """2 for what makes no sense or is not there, 3 for no data, 4 for nobody who answers."""
    here = ("--data-dir", log)
    assert run("drift", *EMPTY, *here).code == NOT_ENOUGH_DATA
    nothing = run("drift", *EMPTY, "--explain", "--feature", "latency_s", *here)
    assert nothing.code == NOT_ENOUGH_DATA
    assert run("drift", "--deep", *here).code == USAGE
    assert run("drift", "--segment", "candidate", *here).code == USAGE
    misspelt = run("drift", *PERIOD, "--explain", "--feature", "prompt_token", *here)
    assert misspelt.code == USAGE
    assert "prompt_tokens" in misspelt.err
    assert run("drift", *PERIOD, "--server", "127.0.0.1:1").code == UNREACHABLE
    assert run("drift", *PERIOD, *here, "--explain").code == GOOD


def test_the_api_refuses_what_makes_no_sense(url: str) -> None:
    """A segment without a key, a feature and a baseline that are not there."""
    asked = {"since_us": HOURS.from_us, "until_us": HOURS.to_us}
    refused = httpx2.get(f"{url}/drift", params={**asked, "segment": "candidate"})
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "segment"
    unknown = httpx2.get(f"{url}/drift/explain", params={**asked, "feature": "wind"})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "no_baseline"
    named = httpx2.get(
        f"{url}/drift/explain", params={**asked, "feature": "latency_s", "baseline": "other"}
    )
    assert named.status_code == 404
    assert "other" in named.json()["error"]["message"]


def test_a_terminal_without_blocks_gets_ascii(log: Path, tmp_path: Path) -> None:
    """As a process of its own, whose stdout takes ASCII alone."""
    code = "import sys; from gateway.cli.main import main; sys.exit(main())"
    words = ["drift", *PERIOD, "--explain", "--data-dir", str(log)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(  # (our own interpreter and arguments)
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == GOOD, done.stderr
    text = done.stdout.decode("ascii")
    assert "####" in text
    assert "\x1b" not in text
