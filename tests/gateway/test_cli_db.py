"""`monitor db`, on a bare directory."""

import json
from pathlib import Path

import pytest
from support.command_line import Run, leave_configuration, make_run
from support.empty_log import open_empty_log
from support.log_records import SegmentWriter, id_of, now_us, signals_of

from gateway.cli.db_text import forecast_sentence, size_text
from gateway.cli.exits import GOOD, UNREACHABLE, USAGE
from storage.ingest import Ingester
from storage.lifecycle.forecast import Kind, forecast


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `monitor` in an empty folder without a configuration."""
    leave_configuration(monkeypatch, str(tmp_path))
    return make_run(capsys)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a data directory with fifty predictions."""
    folder = tmp_path / "data"
    writer = SegmentWriter(folder / "spool")
    writer.ends(range(50))
    writer.die()
    database = open_empty_log(folder)
    Ingester(database, folder / "spool", enrich=signals_of, now_us=now_us).step()
    database.close()
    return folder


def test_nothing_is_foretold_of_the_first_day() -> None:
    """No growth is known yet, so no size is named."""
    still = Kind("facts", 1000, 0.0, 0.1, 365.0)
    assert "no forecast" in forecast_sentence(forecast([still], free_bytes=10**9))
    grown = Kind("facts", 1000, 10.0, 3.0, 365.0)
    assert "steady at" in forecast_sentence(forecast([grown], free_bytes=10**9))


def test_info_tells_rows_bytes_and_lags(run: Run, data_dir: Path) -> None:
    """The table is for people, the JSON for programs."""
    done = run("db", "info", "--data-dir", data_dir)
    assert done.code == GOOD
    assert "predictions 50" in done.out
    assert "steady at" in done.out
    found = json.loads(run("db", "info", "--data-dir", data_dir, "--format", "json").out)
    assert found["version"] == 1
    assert found["info"]["predictions"] == 50
    assert found["info"]["lag_bytes"] == 0
    assert found["forecast"]["full_in_days"] is None


def test_compact_tells_what_it_returned(run: Run, data_dir: Path) -> None:
    """The file is whole afterwards."""
    done = run("db", "compact", "--data-dir", data_dir)
    assert done.code == GOOD
    assert done.out.startswith("the database file had ")
    assert "predictions 50" in run("db", "info", "--data-dir", data_dir).out


def test_a_backup_is_a_whole_data_directory(run: Run, data_dir: Path, tmp_path: Path) -> None:
    """Everything is asked of the copy as of the original; a second one needs another name."""
    target = tmp_path / "backups" / "one"
    done = run("db", "backup", target, "--data-dir", data_dir)
    assert done.code == GOOD
    assert "50 predictions" in done.out
    assert "predictions 50" in run("db", "info", "--data-dir", target).out
    again = run("db", "backup", target, "--data-dir", data_dir)
    assert again.code == USAGE
    assert "exists; name a new folder" in again.err


def test_a_lost_file_is_rebuilt_from_archive_and_spool(run: Run, data_dir: Path) -> None:
    """Deleting the database loses nothing: the segments, then the archive, bring it back."""
    (data_dir / "driftgate.duckdb").unlink()
    assert run("db", "rebuild", "--data-dir", data_dir).code == GOOD
    assert "predictions 50" in run("db", "info", "--data-dir", data_dir).out
    for path in (data_dir / "spool").glob("*.seg"):
        path.unlink()
    done = run("db", "rebuild", "--data-dir", data_dir)
    assert done.code == GOOD
    assert done.out.startswith("50 predictions came from the archive")
    assert "predictions 50" in run("db", "info", "--data-dir", data_dir).out


def test_a_damaged_file_is_rebuilt(run: Run, data_dir: Path) -> None:
    """What cannot be opened is set aside."""
    (data_dir / "driftgate.duckdb").write_bytes(b"no database" * 5000)
    done = run("db", "rebuild", "--data-dir", data_dir)
    assert done.code == GOOD
    assert "driftgate.duckdb.damaged-" in done.out
    assert "predictions 50" in run("db", "info", "--data-dir", data_dir).out


def test_a_user_is_forgotten_on_a_bare_directory(run: Run, data_dir: Path) -> None:
    """By id here: one prediction goes, and what is left of it is told."""
    done = run("db", "forget", "--id", id_of(7), "--yes", "--data-dir", data_dir)
    assert done.code == GOOD
    assert done.out.startswith("removed 1 predictions")
    assert "predictions 49" in run("db", "info", "--data-dir", data_dir).out


def test_a_directory_without_a_log_is_unreachable(run: Run, tmp_path: Path) -> None:
    """There is nothing to look at, and nothing is made."""
    done = run("db", "info", "--data-dir", tmp_path / "none")
    assert done.code == UNREACHABLE
    assert not (tmp_path / "none").exists()


def test_forget_names_somebody(run: Run, data_dir: Path) -> None:
    """Without a user or an id nothing is asked."""
    assert run("db", "forget", "--data-dir", data_dir, "--yes").code == USAGE


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456_789, "123 MB"), (2.5e12, "2.5 TB")],
)
def test_sizes_are_told_with_units(size: float, text: str) -> None:
    """Three digits or so are enough."""
    assert size_text(size) == text
