"""Prometheus's own tools on the shipped configuration, and names that exist."""

import re
import shutil
import subprocess

import pytest

from dashboards.generate import ROOT
from monitors.metrics import METRICS

FOLDER = ROOT / "deploy" / "prometheus"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "driftgate.rules.yml"),
        ("test", "rules", "driftgate.rules.test.yml"),
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    """The scrape example is valid, the rules are clean, the alerts fire when they should."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: run `make servers`"
    done = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_rules_read_declared_metrics() -> None:
    """An alert on a series that nobody exports would never fire."""
    declared = {metric.series_name for metric in METRICS}
    text = (FOLDER / "driftgate.rules.yml").read_text("utf-8")
    read = set(re.findall(r"\bdriftgate_[a-z_]+", text))
    assert read
    assert read <= declared
