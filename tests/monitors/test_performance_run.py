"""The watch over labels and scores: what is worse than the baseline's period is told, once."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.empty_log import open_empty_log
from support.log_records import NOW, end_of, id_of, signals_of
from support.watch_kit import Watch

from monitors.performance.run import PerformanceRun
from storage.log import Cutoffs
from storage.records import Baseline, Feedback, Verdict
from storage.times import DAY_US, HOUR_US
from storage.writer import Batch, write_batch

BEFORE = NOW - 30 * DAY_US


class Labels:
    """A route with a baseline of ten days, and labels that come as they come."""

    def __init__(self, folder: Path) -> None:
        self.database = open_empty_log(folder, now_us=lambda: NOW)
        self.watch = Watch(self.database, PerformanceRun)
        self.watch.repository.add_baseline(
            Baseline("default", 1, NOW, BEFORE, BEFORE + 10 * DAY_US, "chat", 1_000, {})
        )
        self._numbers = count()

    def write(
        self, rows: int, wrong: int, *, at: int, told_at: int, score: float | None = None
    ) -> None:
        """Write predictions and their labels, `wrong` of every ten wrong."""
        ends, given = [], []
        for place in range(rows):
            number = next(self._numbers)
            ends.append(end_of(number, text=False, prediction="a", started_at=at + place))
            word = "b" if place % 10 < wrong else "a"
            marks = None if score is None else score + place % 3
            given.append(Feedback(id_of(number), told_at + place, "t", marks, word))
        with self.database.cursor() as cursor:
            write_batch(cursor, Batch(ends, signals_of(ends), given, (), ()), now_us=NOW)

    def look(self) -> dict[str, Verdict]:
        """Look, an hour after the look before; return verdicts by metric."""
        self.watch.clock.us += HOUR_US
        return {v.feature: v for v in self.watch.run.run_once(self.watch.clock.us)}

    @property
    def alerts(self) -> list[tuple[str, str, str]]:
        """Kind, subject and state of every alert."""
        found = self.watch.repository.alerts_between(0, 2 * NOW)
        return [(alert.kind, alert.subject, alert.state) for alert in found]


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    """Return a route whose baseline's labels came a week late; one in ten was wrong."""
    found = Labels(tmp_path)
    found.write(1_000, 1, at=BEFORE + DAY_US, told_at=BEFORE + 20 * DAY_US, score=3.0)
    yield found
    found.database.close()


def test_a_fall_of_accuracy_opens_and_resolves(labels: Labels) -> None:
    """Labels of old predictions that come in today raise an alert; good ones end it later."""
    labels.write(400, 3, at=NOW - 9 * DAY_US, told_at=NOW, score=3.0)
    found = labels.look()
    assert found["accuracy"].verdict == "breach"
    assert found["accuracy"].value == pytest.approx(-0.2)
    assert found["accuracy"].n_current == 400
    assert found["score"].verdict == "ok"
    assert labels.alerts == [("performance", "accuracy", "open")]
    labels.look()
    assert len(labels.alerts) == 1
    labels.watch.clock.us += DAY_US
    labels.write(400, 1, at=NOW, told_at=labels.watch.clock.us)
    words = [labels.look()["accuracy"].verdict for _ in range(3)]
    assert words == ["breach", "breach", "ok"]
    assert labels.alerts == [("performance", "accuracy", "resolved")]


def test_scores_that_fall_are_told(labels: Labels) -> None:
    """A mean score half a standard deviation lower matters, a tenth of one hardly does."""
    labels.write(400, 1, at=NOW - DAY_US, told_at=NOW, score=2.0)
    found = labels.look()
    assert (found["accuracy"].verdict, found["score"].verdict) == ("ok", "breach")
    assert "mean score" in str(found["score"].details["cause"])


def test_a_rise_and_small_falls_raise_nothing(labels: Labels) -> None:
    """What is better is no alert, however sure it is."""
    labels.write(1_000, 0, at=NOW - DAY_US, told_at=NOW, score=4.0)
    assert {v.verdict for v in labels.look().values()} == {"ok"}
    assert labels.alerts == []


def test_labels_of_the_baselines_period_are_not_now(labels: Labels) -> None:
    """A late label of a prediction of the baseline's period counts for the baseline."""
    labels.write(400, 5, at=BEFORE + 2 * DAY_US, told_at=NOW)
    assert labels.look() == {}


def test_few_labels_are_not_enough(labels: Labels) -> None:
    """Below `monitors.min_samples` nothing is said, whatever it looks like."""
    labels.write(40, 10, at=NOW - DAY_US, told_at=NOW)
    assert labels.look()["accuracy"].verdict == "not_enough_data"


def test_without_its_baseline_an_open_alert_ends(labels: Labels) -> None:
    """Nothing is left to compare with."""
    labels.write(400, 4, at=NOW - DAY_US, told_at=NOW)
    labels.look()
    labels.watch.repository.drop_baseline("chat", "default")
    assert labels.look()["accuracy"].details["ended"] == "the route has no baseline any more"
    assert labels.alerts == [("performance", "accuracy", "resolved")]
    assert labels.look() == {}


def test_an_open_alert_ends_with_the_labels_of_its_baselines_period(labels: Labels) -> None:
    """When they are too old to be kept; labels that go on being wrong open nothing."""
    labels.write(400, 4, at=NOW - DAY_US, told_at=NOW)
    labels.look()
    old = Cutoffs(BEFORE + 10 * DAY_US, None)
    assert labels.watch.repository.apply_retention(old).predictions == 1_000
    assert "too little feedback" in str(labels.look()["accuracy"].details["ended"])
    assert labels.look()["accuracy"].verdict == "not_enough_data"
    assert labels.alerts == [("performance", "accuracy", "resolved")]


def test_another_baseline_ends_an_open_alert(labels: Labels) -> None:
    """Where too little came in since that one's period to go on, it ends."""
    labels.write(400, 4, at=NOW - 9 * DAY_US, told_at=NOW)
    labels.look()
    labels.watch.repository.add_baseline(
        Baseline("default", 2, NOW, NOW - 10 * DAY_US, NOW - 8 * DAY_US, "chat", 400, {})
    )
    ended = labels.look()["accuracy"].details["ended"]
    assert ended == "`default@2` took the place of its baseline"
    assert labels.alerts == [("performance", "accuracy", "resolved")]


def test_an_open_alert_stands_while_no_labels_come(labels: Labels) -> None:
    """Every look writes it anew, for reports of the last hour."""
    labels.write(400, 4, at=NOW - DAY_US, told_at=NOW)
    labels.look()
    labels.watch.clock.us += 2 * DAY_US
    assert labels.look()["accuracy"].verdict == "breach"
    assert labels.look()["accuracy"].at == labels.watch.clock.us
    newest = labels.watch.repository.latest_verdicts("chat", "performance")
    assert [verdict.at for verdict in newest if verdict.feature == "accuracy"] == [
        labels.watch.clock.us
    ]
    assert labels.alerts == [("performance", "accuracy", "open")]


def test_an_open_alert_is_not_waited_for_longer_than_a_week(labels: Labels) -> None:
    """Labels that come once a week keep it; without any it ends, and says so."""
    labels.write(400, 4, at=NOW - DAY_US, told_at=NOW)
    labels.look()
    for days, state in ((6, "open"), (2, "resolved")):
        labels.watch.clock.us += days * DAY_US
        labels.look()
        assert labels.alerts == [("performance", "accuracy", state)]
    (alert,) = labels.watch.repository.alerts_between(0, 2 * NOW)
    assert "no recovery was seen; `accuracy`: no data" in alert.summary


def test_an_open_alert_ends_when_the_watch_is_switched_off(labels: Labels) -> None:
    """After a restart without it nothing stays open."""
    labels.write(400, 4, at=NOW - DAY_US, told_at=NOW)
    labels.look()
    labels.watch.start(performance={"enabled": False})
    labels.look()
    assert labels.alerts == [("performance", "accuracy", "resolved")]
