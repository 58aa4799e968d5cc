"""What `monitor doctor` finds."""

import json
import socket
from pathlib import Path

import pytest
from support.command_line import Run, leave_configuration, make_run

from gateway.api.db_shapes import DbReport
from gateway.cli.exits import GATE_TRIPPED, GOOD, UNREACHABLE, USAGE
from gateway.doctor import (
    State,
    check_clock,
    check_engine,
    check_exposure,
    check_folder,
    check_log,
    check_port,
    check_upstreams,
)
from gateway.settings import settings_from_text
from storage.lifecycle.forecast import Kind, forecast
from storage.lifecycle.sizes import DatabaseInfo, FolderSize

NOW = 1_795_000_000_000_000
NOTHING = FolderSize(0, 0)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `monitor` in an empty folder without a configuration."""
    leave_configuration(monkeypatch, str(tmp_path))
    return make_run(capsys)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def configuration(upstream: str, **gateway: object) -> str:
    """Return a configuration with free ports and one upstream."""
    keys = {
        "listen": f"127.0.0.1:{free_port()}",
        "control": f"127.0.0.1:{free_port()}",
        "data_dir": "./data",
        **gateway,
    }
    return json.dumps(
        {
            "gateway": keys,
            "upstreams": {"a": {"url": upstream}},
            "routes": {"*": {"split": {"a": 1}}},
        }
    )


def report_of(**facts: object) -> DbReport:
    """Return sizes of an empty log, with some of them changed."""
    info = {
        "data_dir": "data",
        "at": NOW,
        "schema_version": 7,
        "file_bytes": 0,
        "wal_bytes": 0,
        "free_bytes": 0,
        "predictions": 0,
        "oldest_at": None,
        "newest_at": None,
        "record_bytes": None,
        "lag_bytes": 0,
        "text_lag_bytes": 0,
        "tables": (),
        "text": NOTHING,
        "archive": NOTHING,
        "spool": NOTHING,
        "sources": (),
        "losses": {},
    }
    kinds = facts.pop("kinds", [])
    coming = forecast(kinds, free_bytes=1000)  # type: ignore[arg-type]  # (a list of kinds)
    return DbReport(DatabaseInfo(**info | facts), coming)  # type: ignore[arg-type]  # (as named)


def test_a_sound_installation_has_no_failure(run: Run, tmp_path: Path) -> None:
    """Everything is checked, nothing is made, and the exit code is 0."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}/v1"
        (tmp_path / "driftgate.yaml").write_text(configuration(url))
        done = run("doctor", "--format", "json")
    assert done.code == GOOD
    checks = json.loads(done.out)["checks"]
    assert {check["state"] for check in checks} == {"ok"}
    assert {"configuration", "exposure", "data_dir", "disk", "clock", "server", "engine"} <= {
        check["name"] for check in checks
    }
    assert not (tmp_path / "data").exists()


def test_an_upstream_that_refuses_fails_the_command(run: Run, tmp_path: Path) -> None:
    """The address and the reason are named; the exit code is 1."""
    port = free_port()
    (tmp_path / "driftgate.yaml").write_text(configuration(f"http://127.0.0.1:{port}"))
    done = run("doctor")
    assert done.code == GATE_TRIPPED
    assert f"fail upstream a         127.0.0.1:{port}: Connection refused" in done.out


def test_a_refused_configuration_is_the_finding(run: Run, tmp_path: Path) -> None:
    """Nothing can be checked against it; the exit code is 2."""
    (tmp_path / "driftgate.yaml").write_text("upstreams: {}\n")
    done = run("doctor")
    assert done.code == USAGE
    assert done.out.startswith("fail configuration")


def test_an_open_gateway_without_keys_is_told(run: Run, tmp_path: Path) -> None:
    """It is what `serve` would refuse."""
    text = configuration("http://127.0.0.1:9", listen="0.0.0.0:0", control="127.0.0.1:0")
    found = check_exposure(settings_from_text(text, {}, source="t"))
    assert found.state == State.FAIL
    assert "`gateway.keys` is empty" in found.message


def test_a_database_that_is_none_fails_with_4(run: Run, tmp_path: Path) -> None:
    """A file that DuckDB does not take is a failure of storage."""
    (tmp_path / "driftgate.yaml").write_text(configuration("http://127.0.0.1:9"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "driftgate.duckdb").write_bytes(b"no database" * 1000)
    done = run("doctor")
    assert done.code == UNREACHABLE
    assert "fail database" in done.out


def test_a_data_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    """The way out is another folder."""
    (tmp_path / "data").write_text("")
    found = check_folder(tmp_path / "data" / "below")
    assert found.state == State.FAIL
    assert "is a file, not a folder" in found.message


def test_a_port_that_is_taken_is_told() -> None:
    """The key that names it is in the finding."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = check_port("gateway.listen", f"127.0.0.1:{server.getsockname()[1]}")
    assert found.state == State.FAIL
    assert "Address already in use" in found.message


def test_a_clock_that_went_back_is_told() -> None:
    """A newest prediction an hour ahead is no rounding."""
    assert check_clock(NOW, None).state == State.OK
    assert check_clock(NOW, report_of(newest_at=NOW + 3_600_000_000)).state == State.WARN
    assert check_clock(0, None).state == State.FAIL


def test_losses_lag_and_a_full_disk_are_warnings() -> None:
    """They do not fail the command; each is named."""
    kinds = [Kind("facts", 100, 100.0, 1.0, 365.0)]
    report = report_of(losses={"torn": 2}, lag_bytes=1 << 30, kinds=kinds)
    found = {check.name: check for check in check_log(report)}
    assert {name for name, check in found.items() if check.state == State.WARN} == {
        "lag",
        "losses",
        "forecast",
    }
    assert "torn: 2" in found["losses"].message
    assert "full in 11 days" in found["forecast"].message


def test_nothing_is_foretold_of_the_first_day() -> None:
    """No growth is known yet, so no size is named."""
    found = {check.name: check for check in check_log(report_of())}
    assert "none before" in found["forecast"].message


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Nothing is downloaded: a hub name is a warning, a missing file a failure."""
    text = "upstreams: {a: {engine: llama.cpp, model: %s}}\nroutes: {'*': {split: {a: 1}}}\n"
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    for model, state in (("hf:o/r/f.gguf", State.WARN), ("./none.gguf", State.FAIL)):
        text_of_model = f"engine: {{models_dir: {tmp_path}}}\n{text % model}"
        settings = settings_from_text(text_of_model, {}, source="t")
        assert check_engine(settings, environment).state == state


def test_an_upstream_on_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    """A socket that nobody serves is told as such."""
    text = configuration(f"unix://{tmp_path}/none.sock")
    (found,) = check_upstreams(settings_from_text(text, {}, source="t"))
    assert found.state == State.FAIL
    assert "No such file" in found.message
