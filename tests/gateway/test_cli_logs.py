"""`monitor logs`, `monitor export` and `monitor sql`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import polars as pl
import pytest
from support.api_server import leave_address
from support.command_line import Done, Run, leave_configuration, make_run
from support.fake_upstream import FakeUpstream
from support.reading_log import served_log, take_in
from support.report_log import at, fill, known_traffic, opened

from gateway.cli.exits import GATE_TRIPPED, GOOD, NOT_ENOUGH_DATA, UNREACHABLE, USAGE
from storage.database import Database
from storage.records import Payload

ROOT = Path(__file__).resolve().parents[2]
PERIOD = ("--since", "2023-11-14T22:00Z", "--until", "2023-11-14T23:00Z")
ID = "01900000-0000-7000-8000-0000000000"


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
    """Fill a data directory with known traffic."""
    data_dir = tmp_path_factory.mktemp("log") / "data"
    hostile = at(20, 20, route="evil", model_answered="m\x1b[2J", reason="a\nb", status=500)
    hostile = msgspec.structs.replace(hostile, payload=None)
    fill(data_dir, [*known_traffic(), hostile])
    return data_dir


@pytest.fixture
def database(log: Path, tmp_path: Path) -> Iterator[Database]:
    """Open a copy of the log for writing."""
    shutil.copytree(log, tmp_path / "data")
    with opened(tmp_path / "data") as found:
        yield found


@pytest.fixture
def server(database: Database) -> Iterator[str]:
    """Serve it."""
    with served_log(database) as url:
        leave_address(database.data_dir, url)
        yield url


def test_a_bare_log_is_shown(run: Run, log: Path) -> None:
    """A line a prediction, the newest last, the interval on stderr."""
    done = run("logs", *PERIOD, "--route", "other", "--data-dir", log)
    lines = done.out.splitlines()
    assert done.code == GOOD
    assert lines[0].startswith("started (UTC)")
    assert [line.split()[-1][-2:] for line in lines[1:]] == ["09", "0a"]
    assert "2023-11-14T22:00:09Z" in lines[1]
    assert "2023-11-14T22:00:00Z to" in done.err


def test_no_word_steers_the_terminal(run: Run, log: Path) -> None:
    """Control characters of clients and upstreams come as U+FFFD."""
    done = run("logs", *PERIOD, "--route", "evil", "--data-dir", log)
    assert len(done.out.splitlines()) == 2
    assert "m\N{REPLACEMENT CHARACTER}[2J" in done.out
    assert "\x1b" not in run("logs", f"{ID}14", "--data-dir", log).out


def test_json_and_lines_tell_the_same(run: Run, log: Path) -> None:
    """JSON is one object with a version; lines are its rows."""
    words = ("logs", *PERIOD, "--errors", "--data-dir", log, "--format")
    whole = json.loads(run(*words, "json").out)
    lines = [json.loads(line) for line in run(*words, "jsonl").out.splitlines()]
    assert whole["version"] == 1
    assert whole["rows"] == lines
    assert [row["id"][-2:] for row in lines] == ["05", "06", "08", "14"]


def test_one_record_is_whole(run: Run, log: Path) -> None:
    """Facts, tries; of an unknown id there is none."""
    done = run("logs", f"{ID}07", "--data-dir", log)
    assert "latency_s                 6.0" in done.out
    assert done.out.count("attempt  ") == 2
    missing = run("logs", f"{ID}ff", "--data-dir", log)
    assert (missing.code, "no prediction" in missing.err) == (NOT_ENOUGH_DATA, True)


def test_text_stands_below_its_line(run: Run, tmp_path: Path) -> None:
    """With `--payload`, line by line."""
    text = Payload(b"ask\x1b\nmore", b"answer", request_truncated=True)
    fill(tmp_path, [msgspec.structs.replace(at(1, 1), payload=text)])
    done = run("logs", *PERIOD, "--payload", "--data-dir", tmp_path)
    replaced = "\N{REPLACEMENT CHARACTER}"
    assert done.out.splitlines()[2:] == [
        "  request (cut):", f"    ask{replaced}", "    more", "  response:", "    answer",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("logs", *PERIOD, "--route", "none"), NOT_ENOUGH_DATA, "there are none"),
        (("logs", *PERIOD, "--where", "latncy_s > 1"), USAGE, '"latency_s"'),
        (("logs", *PERIOD, "--where", "true) UNION (SELECT 1"), USAGE, "more than one"),
        (("logs", *PERIOD, "--status", "9xx"), USAGE, "no status"),
        (("logs", "--follow", "--format", "json"), USAGE, "jsonl"),
        (("logs", "--follow"), UNREACHABLE, "no server runs"),
        (("logs", "--payload", "--limit", "500"), USAGE, "at most 100"),
        (("logs", "not-an-id"), USAGE, "not-an-id"),
        (("logs", "../.."), USAGE, "not a valid UUID"),
        (("logs", "--server", "http://127.0.0.1:1"), UNREACHABLE, "cannot be reached"),
        (("logs", "--server", "no address"), UNREACHABLE, "cannot be reached"),
        (("logs", "--server", "http://[x"), UNREACHABLE, "cannot be reached"),
        (("export", "--format", "parquet"), USAGE, "--output"),
        (("export", "--format", "csv", "--columns", "nope"), USAGE, "no column `nope`"),
        (("export", "--format", "csv", "--output", "/nowhere/x.csv"), USAGE, "/nowhere/x.csv"),
        (("sql", "DELETE FROM predictions"), USAGE, "DELETE is refused"),
        (("sql", "SELECT nope FROM predictions"), USAGE, "nope"),
    ],
)
def test_exit_codes(run: Run, log: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """2 usage, 3 nothing there, 4 unreachable; each with a reason."""
    done = run(*arguments, "--data-dir", log)
    assert (done.code, said in done.err) == (code, True), done.err


def test_the_server_is_asked(run: Run, server: str, database: Database, log: Path) -> None:
    """It answers as the bare file does, whatever is asked."""
    for words in (
        ("logs", *PERIOD, "--format", "jsonl", "--errors"),
        ("logs", *PERIOD, "--where", "status >= 500"),
        ("logs", f"{ID}07", "--format", "json"),
        ("export", *PERIOD, "--format", "csv", "--route", "chat"),
        ("export", *PERIOD, "--format", "jsonl", "--table", "attempts"),
        ("sql", "SELECT started_at, tags FROM predictions ORDER BY 1", "--format", "csv"),
    ):
        from_server = run(*words, "--data-dir", database.data_dir)
        assert from_server.code == GOOD, from_server.err
        assert from_server.out == run(*words, "--data-dir", log).out
    refused = run("logs", "--where", "nope", "--server", server)
    assert (refused.code, "nope" in refused.err) == (USAGE, True)


@pytest.mark.parametrize("from_server", [True, False])
def test_parquet_is_whole_or_absent(
    run: Run, request: pytest.FixtureRequest, log: Path, tmp_path: Path, *, from_server: bool
) -> None:
    """From the server and from the bare file; a refused export leaves what was there."""
    data_dir = log
    if from_server:
        request.getfixturevalue("server")
        data_dir = tmp_path / "data"
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "log.parquet"
    words = ("export", *PERIOD, "--format", "parquet", "--output", target, "--data-dir", data_dir)
    done = run(*words)
    assert (done.code, done.out) == (GOOD, ""), done.err
    found = pl.read_parquet(target)
    assert (len(found), found.schema["started_at"]) == (12, pl.Datetime("us", "UTC"))
    assert run(*words, "--where", "nope").code == USAGE
    assert [path.name for path in folder.iterdir()] == ["log.parquet"]
    assert len(pl.read_parquet(target)) == 12


def test_a_server_that_asks_for_a_key_is_told_of(run: Run) -> None:
    """With the way out, whatever is asked."""
    with FakeUpstream("status:401") as server:
        for words in (("logs",), ("export", "--format", "csv"), ("sql", "SELECT 1")):
            done = run(*words, "--server", f"http://127.0.0.1:{server.port}")
            assert (done.code, "--config" in done.err) == (UNREACHABLE, True), done.err


def test_sql_is_shown(run: Run, log: Path) -> None:
    """As columns; JSON has their types; what is cut is said."""
    words = ("sql", "SELECT route, count(*) AS n FROM predictions GROUP BY ALL ORDER BY 1")
    done = run(*words, "--data-dir", log)
    assert done.out == "route  n\nchat   9\nevil   1\nother  2\n"
    cut = run(*words, "--limit", "1", "--format", "json", "--data-dir", log)
    found = json.loads(cut.out)
    assert (found["rows"], found["truncated"]) == ([["chat", 9]], True)
    assert "cut after 1 rows" in cut.err


def monitor(folder: Path, *arguments: object, stdout: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `monitor` as a process of its own."""
    # Shells ignore it for what they start in the background, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-c", "from gateway.cli.main import main; raise SystemExit(main())"]
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=folder,
        env=env,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> Done:
    """Wait for a process; say where it stands if it does not end."""
    try:
        _, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        _, err = process.communicate()
        pytest.fail(f"it did not end: {err.decode()}")
    return Done(process.returncode, "", err.decode())


def test_a_log_is_followed(database: Database, server: str, tmp_path: Path) -> None:
    """Each row once, in the order of coming in; Ctrl-C is a good end."""
    words = ("logs", "--since", "2023-11-14", "--limit", 2, "--follow", "--format", "jsonl")
    process = monitor(tmp_path, *words, "--server", server, stdout=subprocess.PIPE)
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["id"][-2:] for _ in range(2)]
    take_in(database, [at(0.5, 0x30), at(30, 0x31)])
    take_in(database, [at(0.25, 0x32)])
    seen += [json.loads(process.stdout.readline())["id"][-2:] for _ in range(3)]
    assert seen == ["0a", "14", "30", "31", "32"]
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert (done.code, "Traceback" in done.err, "Aborted" in done.err) == (GOOD, False, False)


def test_a_closed_pipe_is_a_good_end(database: Database, server: str, tmp_path: Path) -> None:
    """As in `monitor logs --follow | head -1`."""
    words = ("logs", "--since", "2023-11-14", "--limit", 1, "--follow", "--format", "jsonl")
    process = monitor(tmp_path, *words, "--server", server, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    take_in(database, [at(30 + number, 0x40 + number) for number in range(20)])
    done = ended(process)
    assert (done.code, "Traceback" in done.err, "BrokenPipe" in done.err) == (GOOD, False, False)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("report", "--fail-on", "errors:0.001"), GATE_TRIPPED),
        (("report", "--format", "json"), GOOD),
        (("db", "info"), GOOD),
    ],
)
def test_a_closed_pipe_trips_no_gate(
    log: Path, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    """Nobody reads, as after `| head`: the code is that of what was found."""
    words = (*words, *(PERIOD if words[0] == "report" else ()), "--data-dir", str(log))
    reading, writing = os.pipe()
    os.close(reading)
    done = ended(monitor(tmp_path, *words, stdout=writing))
    os.close(writing)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err


@pytest.mark.parametrize("words", [("report", *PERIOD), ("db", "info")])
def test_a_full_disk_trips_no_gate(log: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Output that cannot be written is said in a sentence, with a code of its own."""
    with Path("/dev/full").open("wb") as full:
        done = ended(monitor(tmp_path, *map(str, words), "--data-dir", str(log), stdout=full))
    assert (done.code, "Traceback" in done.err) == (UNREACHABLE, False), done.err
    assert "the output is not whole: No space left on device" in done.err
