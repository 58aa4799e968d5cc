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
from support.report_log import BEFORE, HOURS, START, at, fill, opened, steady

from gateway.cli.exits import GOOD, NOT_ENOUGH_DATA, UNREACHABLE, USAGE
from gateway.cli.since import iso
from monitors.report.recent import window_of_last
from monitors.windows import Window
from router.clock import SystemClock
from storage.repository import Repository

PERIOD = ("--since", iso(BEFORE.from_us), "--until", iso(BEFORE.to_us))


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
    """Return a data directory: 600 rows of `chat` the day before, one of `tiny`."""
    ends = [*steady(600, BEFORE, first=1), at(-60, 9999, route="tiny")]
    fill(tmp_path / "data", ends)
    return tmp_path / "data"


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


def test_a_baseline_is_set_listed_shown_and_dropped(run: Run, anywhere: Path) -> None:
    """The same words, with a server and without."""
    where = ("--data-dir", anywhere)
    done = run("baseline", "set", *PERIOD, "--route", "chat", *where)
    assert (done.code, "chat: default@1, 600 rows" in done.out) == (GOOD, True), done.err
    assert "default@2" in run("baseline", "set", *PERIOD, "--route", "chat", *where).out
    listed = json.loads(run("baseline", "list", "--format", "json", *where).out)
    assert [b["version"] for b in listed["baselines"]] == [1, 2]
    shown = run("baseline", "show", "--route", "chat", "--format", "json", *where)
    features = {f["feature"]: f for f in json.loads(shown.out)["features"]}
    prompt, reason = features["prompt_tokens"], features["finish_reason"]
    assert (prompt["rows"], prompt["missing"], prompt["p50"]) == (600, 0, 149)
    assert reason["categories"] == {"stop": 1.0}
    dropped = run("baseline", "drop", "default", "--route", "chat", *where)
    assert (dropped.code, "2 versions" in dropped.out) == (GOOD, True)
    assert run("baseline", "list", *where).out == ""


def test_the_last_rows_make_a_baseline(run: Run, anywhere: Path) -> None:
    """`--last` takes the newest rows, whatever their age."""
    done = run("baseline", "set", "--last", 200, "--route", "chat", "--data-dir", anywhere)
    assert (done.code, "200 rows" in done.out) == (GOOD, True), done.err


def test_every_route_gets_one(run: Run, anywhere: Path) -> None:
    """Routes with too few rows are named on stderr; the others are set."""
    done = run("baseline", "set", *PERIOD, "--data-dir", anywhere)
    assert done.code == GOOD
    assert "chat: default@1" in done.out
    assert "`tiny`" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("set", *PERIOD, "--route", "tiny"), NOT_ENOUGH_DATA, "too few"),
        (("set", "--last", "9999", "--route", "chat"), NOT_ENOUGH_DATA, "fewer than 9999"),
        (
            ("set", "--last", "49", "--route", "chat"),
            NOT_ENOUGH_DATA,
            "`monitors.min_samples` is 50",
        ),
        (("set", "--since", "1h"), NOT_ENOUGH_DATA, "no predictions"),
        (("set", "--since", "2100-01-01"), USAGE, "future"),
        (("set", "--last", "9", "--since", "7d"), USAGE, "exclude"),
        (("set", "--previous", "7d", "--last", "9"), USAGE, "exclude"),
        (("set", "--previous", "soon"), USAGE, "write a duration"),
        (("set", "--previous", "2h"), NOT_ENOUGH_DATA, "a day or longer"),
        (("set", "--previous", "7d", "--route", "chat"), NOT_ENOUGH_DATA, "too few"),
        (("set", *PERIOD, "--seasonal"), NOT_ENOUGH_DATA, "two weeks"),
        (("set", *PERIOD, "--variant", "no", "--route", "chat"), NOT_ENOUGH_DATA, "of variant"),
        (("set", "--map", "a=b"), USAGE, "--file"),
        (("set", "--file", "none.csv"), USAGE, "needs --route"),
        (("set", "--file", "none.csv", "--since", "7d"), USAGE, "exclude"),
        (("set", "--file", "none.csv", "--route", "chat"), USAGE, "there is no file"),
        (("set", *PERIOD, "--name", "a/b"), USAGE, "is no name"),
        (("show", "none", "--route", "chat"), USAGE, "has no baseline `none`"),
        (("drop", "none", "--route", "chat"), USAGE, "has no baseline `none`"),
    ],
)
def test_refusals(
    run: Run, anywhere: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """Each has its exit code and its reason, with a server and without."""
    done = run("baseline", *arguments, "--data-dir", anywhere)
    assert (done.code, said in done.err) == (code, True), done.err


def test_a_variants_rows_make_a_baseline(run: Run, anywhere: Path) -> None:
    """What it was made of is shown, and what each segment has."""
    where = ("--data-dir", anywhere)
    done = run("baseline", "set", *PERIOD, "--variant", "primary", "--route", "chat", *where)
    assert (done.code, "variant primary" in done.out) == (GOOD, True), done.err
    shown = run("baseline", "show", "--route", "chat", "--format", "json", *where)
    found = json.loads(shown.out)
    assert found["baseline"]["source"] == {"kind": "period", "variant": "primary"}
    segments = {"variant=primary": 600, "variant=(other)": 600}
    assert found["features"][0]["segments"] == segments


def test_a_training_file_makes_a_baseline(run: Run, anywhere: Path, tmp_path: Path) -> None:
    """Columns are signals and inputs by name, or as mapped; what is left out is told."""
    path = tmp_path / "train.csv"
    rows = [f"{i},{i % 7 * 0.1:.1f},{'ab'[i % 2]},2026-11-01" for i in range(100)]
    path.write_text("\n".join(["id,latency_s,plan,day", *rows]) + "\n")
    done = run(
        *("baseline", "set", "--file", path, "--route", "churn", "--name", "train"),
        *("--map", "id=", "--map", "plan=input.tariff", "--data-dir", anywhere),
    )
    assert (done.code, done.out) == (
        GOOD,
        "churn: train@1, 100 rows, 2 features, train.csv\n",
    ), done.err
    assert "`id` is left out: left out by its mapping" in done.err
    assert "`day` is left out: neither numbers nor text" in done.err
    shown = run("baseline", "show", "train", "--route", "churn", "--data-dir", anywhere)
    assert "input.tariff" in shown.out
    assert "a 50.0%, b 50.0%" in shown.out


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("a,b\n1,2\n", ("--map", "c=input.c"), "has no column `c`"),
        ("a,b\n1,2\n", ("--map", "a=age"), "map `a` to `input.age`"),
        ("a,b\n1,2\n", ("--map", "a"), "write COLUMN=FEATURE"),
        ("a,b\n1,2\n", ("--map", "a=input.b"), "would both be `input.b`"),
        ("a,b\n1,2\n", (), "no column that can be used"),
        ("a,b\n,\n,\n", (), "no column that can be used"),
        ("latency_s\nslow\nfast\n", (), "the column is categorical"),
        ("a,b\n1,2\n", ("--seasonal",), "--map COLUMN=started_at"),
        ("a,b\n2026-11-01,2\n", ("--seasonal", "--map", "a=started_at"), "less than two weeks"),
        (",".join(f"c{i}" for i in range(300)) + "\n" + "1," * 299 + "1\n", (), "--mapped-only"),
    ],
)
def test_files_that_make_none(
    run: Run, log: Path, tmp_path: Path, content: str, options: tuple[str, ...], said: str
) -> None:
    """Each is refused with the way out, and leaves nothing."""
    path = tmp_path / "train.csv"
    path.write_text(content)
    where = ("--route", "chat", "--data-dir", log)
    done = run("baseline", "set", "--file", path, *options, *where)
    assert (done.code, said in done.err) == (USAGE, True), done.err
    assert run("baseline", "list", *where).out == ""


def test_a_misspelt_folder_stays_empty(run: Run, tmp_path: Path) -> None:
    """Setting creates no database."""
    done = run("baseline", "set", *PERIOD, "--data-dir", tmp_path / "typo")
    assert done.code == UNREACHABLE
    assert not (tmp_path / "typo").exists()


def test_the_last_rows_are_found_exactly(log: Path) -> None:
    """The interval starts at the N-th newest row and holds just N."""
    with opened(log) as database:
        window = window_of_last(Repository(database), "chat", 10, START)
        none = window_of_last(Repository(database), "chat", 601, START)
    step = (BEFORE.to_us - BEFORE.from_us) // 600
    assert window == Window(BEFORE.to_us - 10 * step, BEFORE.to_us - step + 1)
    assert none is None


def test_the_api_reads_text_and_microseconds(url: str) -> None:
    """`since=24h` and `since_us` name intervals; the answer is the report."""
    known = {"since_us": BEFORE.from_us, "until_us": BEFORE.to_us}
    assert httpx2.get(f"{url}/report", params=known).json()["requests"] == 601
    said = {"since": iso(BEFORE.from_us), "until": iso(BEFORE.to_us)}
    assert httpx2.get(f"{url}/report", params=said).json()["requests"] == 601
    assert httpx2.get(f"{url}/report", params={"since": "24h"}).json()["requests"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/report?since=soon", 422),
        ("GET", "/report?since_us=-1", 422),
        ("GET", "/report?since_us=9&until_us=9", 422),
        ("GET", "/baselines/none?route=chat", 404),
        ("GET", "/baselines/default", 422),
        ("DELETE", "/baselines/none?route=chat", 404),
    ],
)
def test_errors_have_one_shape(url: str, method: str, path: str, status: int) -> None:
    """Message, type, param and code, whatever is wrong."""
    answer = httpx2.request(method, url + path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["message"]


def test_the_api_is_documented(url: str) -> None:
    """The schema of the report stands in the OpenAPI document, without open references."""
    document = httpx2.get(url.removesuffix("/api/v1") + "/openapi.json").text
    schema = json.loads(document)["paths"]["/api/v1/report"]["get"]["responses"]["200"]
    properties = schema["content"]["application/json"]["schema"]["properties"]
    assert "p95" in properties["traffic"]["items"]["properties"]["latency_s"]["properties"]
    assert "$defs" not in document


def test_status_says_what_runs(url: str) -> None:
    """Routes, monitor, loops and alerts."""
    found = httpx2.get(f"{url}/status").json()
    assert found["routes"] == ["*"]
    assert found["loops"] == {"ingest": {"failures": 0}}
    assert found["monitor"]["looks"] == 0
    assert (found["recent"], found["open_alerts"]) == ([], 0)


def test_help_imports_nothing_heavy() -> None:
    """`monitor report --help` loads no database, numbers, web or table library."""
    probe = (
        "import sys; from gateway.cli.exits import run_command; from gateway.cli.main import cli;"
        "run_command(cli, ['report', '--help']); run_command(cli, ['baseline', '--help']);"
        "heavy = {'duckdb', 'numpy', 'scipy', 'rich', 'httpx2', 'fastapi', 'pydantic', 'polars'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--fail-on" in done.stdout


def test_a_report_imports_what_it_needs(log: Path) -> None:
    """A report of a bare file loads no library of the web, statistics, checks or tables."""
    arguments = ["report", "--since", iso(HOURS.from_us), "--data-dir"]
    heavy = ["fastapi", "uvicorn", "httpx2", "pydantic", "yaml", "rich", "polars", "scipy"]
    heavy += ["pandas", "pyarrow", "opentelemetry", "prometheus_client", "asyncio"]
    probe = (
        "import sys; from gateway.cli.exits import run_command; from gateway.cli.main import cli;"
        f"run_command(cli, [*{arguments!r}, {str(log)!r}]);"
        f"sys.exit(' '.join(set({heavy!r}) & set(sys.modules)) or 0)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=log,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "driftgate report" in done.stdout
