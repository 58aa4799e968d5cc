"""Inputs of predictive models in a report."""

from pathlib import Path

import pytest
from support.reference_log import MONDAY, Rows, spread
from support.report_log import HOUR, opened

from monitors.asked import ReportQuery
from monitors.config import MonitorsConfig
from monitors.report.build import build_report
from monitors.report.model import Finding
from monitors.schedule import MonitorRun
from monitors.windows import Window
from storage.repository import Repository

DAY = 24 * HOUR
BEFORE, NOW = Window(MONDAY, MONDAY + DAY), Window(MONDAY + DAY, MONDAY + 2 * DAY)


def findings(data_dir: Path, rows_to_read: int) -> dict[str, Finding]:
    """Return the findings of a day on which ages doubled and plans stayed."""
    with opened(data_dir) as database:
        repository = Repository(database)
        log = Rows(repository)
        for window, times in ((BEFORE, 1), (NOW, 2)):
            log.write(
                {
                    "started_at": at,
                    "protocol": "other",
                    "inputs": [{"age": (20 + i % 50) * times, "plan": "pro" if i % 3 else "basic"}],
                }
                for i, at in enumerate(spread(300, window.from_us, window.to_us))
            )
        monitor = MonitorRun(repository, MonitorsConfig(), (), lambda _: None)
        monitor.set_baseline("default", "chat", BEFORE, BEFORE.to_us)
        query = ReportQuery(NOW, detail=True)
        report = build_report(
            repository, query, MonitorsConfig(), NOW.to_us, rows_to_read=rows_to_read
        )
    return {finding.feature: finding for finding in report.drift}


@pytest.mark.parametrize("rows_to_read", [0, 50_000])
def test_inputs_of_models_are_compared(tmp_path: Path, rows_to_read: int) -> None:
    """From rows and from counts: a number that doubled drifts, a category that stayed does not."""
    found = findings(tmp_path, rows_to_read)
    age, plan = found["input.age"], found["input.plan"]
    assert (age.verdict, age.severity, age.n_reference, age.n_current) == (
        *("drift", "critical"),
        *(300, 300),
    )
    assert age.cause.startswith("the median went from 44 to 88")
    assert (plan.verdict, plan.kind) == ("ok", "categorical")
    assert {one.label: one.current for one in plan.histogram} == {"pro": 200, "basic": 100}
