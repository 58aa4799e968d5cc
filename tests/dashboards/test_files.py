"""`monitor dashboards`: files without the SDK, and a push to a Grafana."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dashboards.files import board_text, export, grafana_files
from dashboards.generate import ROOT


def monitor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as users do."""
    return subprocess.run(
        [sys.executable, "-m", "driftgate", "dashboards", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_export_writes_board_and_provisioning(tmp_path: Path) -> None:
    """The command writes what Grafana reads, and names each file on stdout."""
    done = monitor("export", "--output", str(tmp_path / "grafana"))
    assert done.returncode == 0, done.stderr
    written = {Path(line).relative_to(tmp_path / "grafana") for line in done.stdout.splitlines()}
    assert {str(path) for path in written} == set(grafana_files())
    shown = (tmp_path / "grafana" / "dashboards" / "overview.json").read_text("utf-8")
    assert json.loads(shown)["uid"] == "driftgate-overview"


def test_export_that_cannot_write_says_why(tmp_path: Path) -> None:
    """A path below a file exits 2 and names the option."""
    (tmp_path / "file").write_text("")
    done = monitor("export", "--output", str(tmp_path / "file" / "below"))
    assert done.returncode == 2
    assert "--output" in done.stderr


def test_provisioning_is_version_one() -> None:
    """Provisioning files are YAML of `apiVersion: 1`, which Grafana 10.4 to 13 read."""
    for name, text in grafana_files().items():
        if name.endswith(".yaml"):
            assert yaml.safe_load(text)["apiVersion"] == 1


def test_export_needs_no_sdk(tmp_path: Path) -> None:
    """Users have no grafana-foundation-sdk: nothing on the way imports it."""
    program = (
        "import sys, pathlib; from dashboards.files import export;"
        "export(pathlib.Path(sys.argv[1]));"
        "sys.exit(any(name.startswith('grafana_foundation_sdk') for name in sys.modules))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, timeout=50, check=False).returncode == 0


def test_export_replaces_older_files(tmp_path: Path) -> None:
    """A second export leaves the shipped text."""
    for _ in range(2):
        for path in export(tmp_path):
            assert path.read_text("utf-8") != "old"
            path.write_text("old")
    export(tmp_path)
    assert (tmp_path / "dashboards" / "overview.json").read_text("utf-8") == board_text(
        "overview.json"
    )


@pytest.mark.skipif(
    importlib.util.find_spec("grafana_client") is not None, reason="the extra is installed"
)
def test_push_without_the_extra_names_it() -> None:
    """Without grafana-client, the command says what to install, and the other way."""
    done = monitor("push", "--url", "http://127.0.0.1:1", "--token", "t")
    assert done.returncode == 2
    assert "driftgate[grafana]" in done.stderr
    assert "dashboards export" in done.stderr
