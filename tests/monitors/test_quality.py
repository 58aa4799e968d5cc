"""Quality of data: contracts at once, rates by evidence, schemas as they change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.log_records import end_of
from support.reference_log import DAY_US, HOUR_US, MONDAY, spread
from support.telemetry_feed import verdict_of
from support.watch_kit import MINUTE_US, Watch

from monitors.config import MonitorsConfig
from monitors.quality.checks import Seen, contract_checks
from monitors.quality.judge import Check, Limits, Share, found
from monitors.quality.options import Contract
from monitors.quality.run import QualityRun
from monitors.quality.schemas import YOUNG_US
from monitors.references.making import Period, make
from monitors.windows import Window
from storage.database import Database
from storage.records import InputRow, Signals, Verdict
from storage.writer import Batch

LIMITS = Limits(1e-7, 50)
MODEL = {"model_asked": "churn", "model_answered": None, "route": "chat"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty prediction log."""
    opened = open_empty_log(tmp_path, now_us=lambda: MONDAY)
    yield opened
    opened.close()


class Inputs:
    """A model's inputs in a log, watched; the time is after a day of reference."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.watch = Watch(database, QualityRun, **options)
        self.watch.clock.us = MONDAY + DAY_US + HOUR_US
        self._number = 0

    def write(self, rows: int, from_us: int, to_us: int, **changes: Any) -> None:
        """Write inputs that vary; `changes` replace one in every row, None takes it away."""
        ends, said = [], []
        for at in spread(rows, from_us, to_us):
            self._number += 1
            ends.append(end_of(self._number, text=False, started_at=at, **MODEL))
            plan = ("basic", "pro", "team")[self._number % 3]
            row: InputRow = {"age": float(20 + self._number % 50), "plan": plan, **changes}
            said.append(Signals(ends[-1].prediction.id, inputs=[row]))
        batch = Batch(ends, said, (), (), ())
        self.watch.repository.append(batch, now_us=self.watch.clock.us)

    def remember(self) -> None:
        """Make a day of rows the baseline."""
        self.write(500, MONDAY, MONDAY + DAY_US)
        period = Period("day", "chat", Window(MONDAY, MONDAY + DAY_US), {"kind": "period"})
        make(self.watch.repository, MonitorsConfig(), period, self.watch.clock.us)

    def now(self, rows: int, **changes: Any) -> None:
        """Write rows of the last minutes."""
        now_us = self.watch.clock.us
        self.write(rows, now_us - 4 * MINUTE_US, now_us, **changes)

    def look(self, *, minutes: int = 0) -> dict[str, Verdict]:
        """Look; return the verdicts of the route by feature."""
        seen = self.watch.look(minutes=minutes)
        return {name: verdict for (route, name), verdict in seen.items() if route == "chat"}

    @property
    def alerts(self) -> list[tuple[str, str, str]]:
        """Return what is open: kind, severity and summary."""
        opened = self.watch.repository.open_alerts()
        return [(alert.kind, alert.severity, alert.summary) for alert in opened]


def test_a_contract_is_broken_by_one_row_unless_it_tolerates_it() -> None:
    """The lower end of the share's interval must lie above the tolerance."""
    broken = found(Check("type_rate", "", Share(1, 10_000), 0.0), LIMITS)
    assert broken is not None
    assert broken.is_breach
    for hits, is_breach in ((12, False), (30, True)):
        tolerated = found(Check("type_rate", "", Share(hits, 1000), 0.01), LIMITS)
        assert tolerated is not None
        assert tolerated.is_breach is is_breach


@pytest.mark.parametrize(
    ("now", "is_critical"),
    [(Share(1, 1), False), (Share(2, 2), True), (Share(12, 100), False), (Share(20, 100), True)],
)
def test_a_breach_is_critical_when_a_tenth_of_the_rows_surely_is_bad(
    now: Share,
    is_critical: bool,  # noqa: FBT001  (a case)
) -> None:
    """One bad row of one is a warning."""
    broken = found(Check("type_rate", "", now, 0.0), LIMITS)
    assert broken is not None
    assert (broken.is_breach, broken.is_critical) == (True, is_critical)


@pytest.mark.parametrize(
    ("before", "now", "is_breach"),
    [
        (Share(10, 5000), Share(3, 60), False),  # few rows: luck gives as much
        (Share(10, 5000), Share(30, 600), True),
        (Share(50_000, 1_000_000), Share(53_000, 1_000_000), False),  # certain, but 0.3 points
    ],
)
def test_a_rate_needs_evidence_and_points(before: Share, now: Share, is_breach: bool) -> None:  # noqa: FBT001  (a case)
    """Neither luck in a small window nor a small rise in a large one is a breach."""
    finding = found(Check("missing_rate", "", now, 0.01, before), LIMITS)
    assert finding is not None
    assert finding.is_breach is is_breach


def test_quiet_inputs_are_ok(database: Database) -> None:
    """The same rows as in the baseline raise nothing."""
    inputs = Inputs(database)
    inputs.remember()
    inputs.now(400)
    seen = inputs.look()
    assert {name: verdict.verdict for name, verdict in seen.items()} == {
        "input.age": "ok",
        "input.plan": "ok",
        "schema": "ok",
    }
    assert inputs.alerts == []


def test_what_nobody_declared_is_found_and_told_in_one_alert(database: Database) -> None:
    """Missing and new values of two inputs: one alert, which ends after quiet looks."""
    inputs = Inputs(database)
    inputs.remember()
    inputs.now(150)
    inputs.now(50, age=None, plan="gold")
    seen = inputs.look()
    assert (seen["input.age"].verdict, seen["input.age"].statistic) == ("breach", "missing_rate")
    assert seen["input.age"].value == pytest.approx(0.25)
    assert (seen["input.plan"].statistic, seen["input.plan"].severity) == ("new_rate", "critical")
    ((kind, severity, summary),) = inputs.alerts
    assert (kind, severity) == ("quality", "critical")
    assert "50 of 200 rows (25.00%), 0.00% in the baseline" in summary
    for _ in range(3):
        inputs.watch.clock.us += HOUR_US
        inputs.now(200)
        inputs.look()
    assert inputs.alerts == []


def test_a_breach_that_nothing_more_is_known_of_ends_after_a_day(database: Database) -> None:
    """A night without rows ends nothing; after a day the alert says that there is no data."""
    inputs = Inputs(database, features={"input.age": {"max": 100.0}})
    inputs.now(60, age=400.0)
    assert inputs.look()["input.age"].verdict == "breach"
    assert inputs.look(minutes=60)["input.age"].details["open"] is True
    assert inputs.look(minutes=22 * 60)["input.age"].details["open"] is True
    (opened,) = inputs.watch.repository.open_alerts()
    assert inputs.look(minutes=61)["input.age"].details["open"] is False
    ended = inputs.watch.repository.load_alert(opened.id)
    assert ended is not None
    assert (ended.state, ended.data["no_data"]) == ("resolved", True)
    assert "no recovery was seen; `input.age`: no data" in ended.summary
    assert "ended" not in inputs.look(minutes=5)["input.age"].details


def test_outliers_and_standstill(database: Database) -> None:
    """Values beyond the baseline's range, and one that varied within a window and now does not.

    What never did, such as a weekday, stands still for a good reason.
    """
    inputs = Inputs(database)
    inputs.remember()
    inputs.now(60, plan="pro")
    assert inputs.look()["input.plan"].verdict == "ok"
    inputs.now(60)
    inputs.look(minutes=5)
    inputs.watch.clock.us += 2 * HOUR_US
    inputs.now(200, age=900.0, plan="pro")
    seen = inputs.look()
    assert seen["input.age"].statistic == "outlier_rate"
    assert seen["input.plan"].statistic == "constant"
    assert seen["input.plan"].verdict == "breach"


def test_rows_that_depend_on_each_other_weigh_less() -> None:
    """What is evidence of independent rows is luck where ten of each come together."""
    check = Check("missing_rate", "", Share(60, 600), 0.01, Share(100, 5000))
    alone, together = found(check, LIMITS), found(check, LIMITS, 10.0)
    assert alone is not None
    assert together is not None
    assert (alone.is_breach, together.is_breach) == (True, False)


def test_long_categories_are_known_as_the_log_cuts_them() -> None:
    """A declared value of 80 characters is no breach; another is."""
    told = Contract(categories=("x" * 80,))
    none = np.zeros(0, np.int64)
    seen = Seen(none.astype(np.int32), none, {"x" * 64: 9, "y" * 64: 1}, 10)
    (check,) = contract_checks(seen, told)
    assert check.now == Share(1, 10)


def test_contracts_need_no_baseline(database: Database) -> None:
    """Range, categories and type are held against the first rows."""
    features = {
        "input.age": {"min": 0, "max": 120, "required": True},
        "input.plan": {"categories": ["basic", "pro", "team"], "type": "text"},
    }
    inputs = Inputs(database, features=features)
    inputs.now(20)
    assert {v.verdict for v in inputs.look().values()} == {"ok"}
    inputs.now(1, age=130.0, plan="gold")
    seen = inputs.look(minutes=5)
    assert seen["input.age"].statistic == "out_of_range_rate"
    assert (seen["input.plan"].statistic, seen["input.plan"].severity) == (
        "undeclared_rate",
        "warning",
    )
    assert "`gold`" in str(seen["input.plan"].details["cause"])
    inputs.now(5, plan=7.0)
    assert inputs.look(minutes=5)["input.plan"].statistic == "type_rate"


def test_a_new_input_is_told_for_a_while(database: Database) -> None:
    """A model that has been known for a day is asked with more: told, and over after the window."""
    inputs = Inputs(database)
    inputs.now(20)
    inputs.watch.clock.us += YOUNG_US
    inputs.now(5, income=1e5, age="unknown")
    seen = inputs.look(minutes=5)["schema"]
    assert seen.verdict == "breach"
    assert "`churn` is asked with `age` as text" in str(seen.details["cause"])
    assert "`income` (number)" in str(seen.details["cause"])
    assert [kind for kind, _, _ in inputs.alerts] == ["quality"]
    for _ in range(3):
        inputs.look(minutes=60)
    assert inputs.alerts == []


def test_what_drift_tells_is_not_told_twice(database: Database) -> None:
    """While a drift alert of the feature is open, its quality is a verdict and no alert."""
    inputs = Inputs(database)
    inputs.remember()
    inputs.now(150)
    inputs.now(50, age=None)
    drift = verdict_of("input.age", at=inputs.watch.clock.us)
    inputs.watch.repository.save_verdicts([drift])
    assert inputs.look()["input.age"].details["told_by"] == "drift"
    assert inputs.alerts == []


def test_what_was_told_here_goes_on_when_drift_tells_it_too(database: Database) -> None:
    """The alert stays open: nothing is over."""
    inputs = Inputs(database)
    inputs.remember()
    inputs.now(150)
    inputs.now(50, age=None)
    inputs.look()
    inputs.watch.repository.save_verdicts([verdict_of("input.age", at=inputs.watch.clock.us)])
    inputs.look(minutes=5)
    assert [kind for kind, _, _ in inputs.alerts] == ["quality"]
