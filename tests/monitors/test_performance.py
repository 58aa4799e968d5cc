"""What became of predictions: joined however late, measured as by hand, gaps found."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.log_records import NOW, end_of, id_of, signals_of

from monitors.asked import ReportQuery
from monitors.config import MonitorsConfig
from monitors.report.build import build_report
from monitors.report.model import Report
from monitors.report.parts import Difference
from monitors.report.performance_model import Outcome, Performance
from monitors.report.text import render_text
from monitors.windows import Window
from storage.database import Database
from storage.records import End, Feedback
from storage.repository import Repository
from storage.times import DAY_US
from storage.writer import Batch, write_batch

MINUTE_US = 60_000_000
CONFIG = MonitorsConfig(segments=("variant", "tag"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty prediction log."""
    opened = open_empty_log(tmp_path)
    yield opened
    opened.close()


def write(database: Database, ends: Sequence[End], given: Sequence[Feedback] = ()) -> None:
    """Write records and feedback, each in a batch of their own, feedback first."""
    with database.cursor() as cursor:
        write_batch(cursor, Batch((), (), given, (), ()), now_us=NOW)
        write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=NOW)


def label(
    number: int, told: object, *, after_s: float = 60.0, score: float | None = None
) -> Feedback:
    """Return feedback on a numbered record."""
    word = None if told is None else str(told)
    return Feedback(id_of(number), NOW + number + round(after_s * 1e6), "t", score, word)


def ends_of(said: Sequence[object], *, first: int = 0, **facts: object) -> list[End]:
    """Return numbered records that predicted so."""
    return [
        end_of(first + place, text=False, prediction=str(word), **facts)
        for place, word in enumerate(said)
    ]


def report_of(database: Database, *, config: MonitorsConfig = CONFIG) -> Report:
    """Return the report of the hour in which all records began."""
    window = Window(NOW, NOW + 60 * MINUTE_US)
    return build_report(Repository(database), ReportQuery(window), config, NOW + 90 * DAY_US)


def of_chat(database: Database) -> Performance:
    """Return what became of the one route."""
    (found,) = report_of(database).performance
    return found


def values(found: Performance, variant: str = "") -> dict[str, Outcome]:
    """Return outcomes by metric."""
    return {one.metric: one for one in found.outcomes if one.variant == variant}


def test_a_log_without_feedback_has_no_such_part(database: Database) -> None:
    """Nothing is said where nothing is known, also where confidence is: no label calibrates it."""
    write(database, ends_of(["a", "b"], confidence=0.9))
    assert report_of(database).performance == ()


def test_classes_are_counted_as_by_hand(database: Database) -> None:
    """Accuracy, precision and recall with Wilson's intervals, case and spaces aside."""
    said = ["yes"] * 6 + ["no"] * 4
    truth = ["Yes", " yes", "yes", "yes", "no", "maybe", "no", "no", "no", "yes"]
    write(database, ends_of(said), [label(n, word) for n, word in enumerate(truth)])
    found = of_chat(database)
    accuracy = values(found)["accuracy"]
    assert (accuracy.value, accuracy.n, found.told, found.coverage) == (0.7, 10, 10, 1.0)
    assert accuracy.low == pytest.approx(0.396778, abs=1e-6)
    assert accuracy.high == pytest.approx(0.892209, abs=1e-6)
    classes = {one.label: one for one in found.classes}
    assert (classes["yes"].precision, classes["yes"].recall) == (4 / 6, 4 / 5)
    assert (classes["no"].precision, classes["no"].recall) == (3 / 4, 3 / 4)
    assert (classes["maybe"].precision, classes["maybe"].recall) == (None, 0.0)


def test_numbers_are_measured_by_their_errors(database: Database) -> None:
    """Of numbers: mean size of the error, bias and root mean square, no classes."""
    guess = [1.5, 2.0, 3.25, 10.0] * 10
    truth = [1.0, 2.5, 3.25, 4.0] * 10
    write(database, ends_of(guess), [label(n, value) for n, value in enumerate(truth)])
    found = of_chat(database)
    errors = np.array([0.5, -0.5, 0.0, 6.0])
    outcome = values(found)
    assert outcome["absolute_error"].value == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert outcome["bias"].value == pytest.approx(errors.mean(), rel=1e-12)
    assert outcome["rmse"].value == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-12)
    half = 1.959963984540054 * np.abs(np.tile(errors, 10)).std(ddof=1) / math.sqrt(40)
    assert outcome["absolute_error"].low == pytest.approx(1.75 - half, rel=1e-9)
    assert found.classes == ()
    assert found.calibration is None


def test_few_whole_numbers_are_classes(database: Database) -> None:
    """Labels 0 and 1 are classes, whether a model writes 1 or 1.0."""
    given = [label(n, 1 if n % 3 == 0 else 0) for n in range(12)]
    write(database, ends_of(["1.0", "0.0", "1"] * 4), given)
    found = values(of_chat(database))
    assert (found["accuracy"].value, found["accuracy"].n) == (8 / 12, 12)


def test_one_class_has_one_name(database: Database) -> None:
    """1, 1.0 and true of a 0-or-1 model are one class: its precision counts all of its errors."""
    given = [label(n, ["1.0", "true", "0", "false"][n % 4]) for n in range(8)]
    write(database, ends_of(["1", "0", "1", "0"] * 2), given)
    found = of_chat(database)
    assert values(found)["accuracy"].value == 0.5
    classes = {one.label: (one.n, one.predicted, one.correct) for one in found.classes}
    assert classes == {"1": (4, 4, 2), "0": (4, 4, 2)}


def test_the_newest_word_counts_however_late_it_is(database: Database) -> None:
    """A label may come before its prediction is in the log, and another one weeks after."""
    given = [
        label(0, "wrong", after_s=1.0),
        label(0, "a", after_s=60 * 86_400.0),
        label(1, "b", after_s=3.0),
        Feedback(id_of(0), NOW + 70 * DAY_US, "other", None, None, "a comment takes nothing back"),
        label(77, "of no prediction"),
    ]
    write(database, ends_of(["a", "b", "c"]), given)
    found = of_chat(database)
    assert (found.n, found.told, found.coverage) == (3, 2, 2 / 3)
    assert values(found)["accuracy"].value == 1.0
    assert found.delay_p50_s == pytest.approx(2.0)


def test_scores_of_answers(database: Database) -> None:
    """Without predictions: the mean score with its interval, and the share of every label."""
    ends = [end_of(n, text=False) for n in range(100)]
    given = [label(n, "good" if n % 4 else "bad", score=float(n % 5)) for n in range(100)]
    write(database, ends, given)
    found = of_chat(database)
    score = values(found)["score"]
    assert (score.value, score.n) == (2.0, 100)
    assert score.high == pytest.approx(2.0 + 1.959963984540054 * math.sqrt(2.0 / 99), rel=1e-12)
    assert [(one.label, one.share, one.precision, one.recall) for one in found.classes] == [
        ("good", 0.75, None, None),
        ("bad", 0.25, None, None),
    ]


def test_variants_differ_with_an_interval(database: Database) -> None:
    """The accuracy of a variant against the largest one, valid at every look."""
    good = ends_of(["a"] * 300)
    bad = ends_of(["a"] * 200, first=300, variant="candidate")
    given = [label(n, "a" if n % 10 else "b") for n in range(300)]
    given += [label(n, "a" if n % 2 else "b") for n in range(300, 500)]
    write(database, [*good, *bad], given)
    report = report_of(database)
    found = next(one for one in report.differences if one.metric == "accuracy")
    assert isinstance(found, Difference)
    assert (found.variant, found.against) == ("candidate", "primary")
    assert found.difference == pytest.approx(-0.4)
    assert found.high is not None
    assert found.high < -0.2
    assert values(report.performance[0], "candidate")["accuracy"].value == 0.5


def test_the_worst_segment_is_found(database: Database) -> None:
    """One tag of ten is answered wrongly twice as often: it is named, with rows and interval."""
    ends, given = [], []
    for number in range(2_000):
        tag = f"team-{number % 10}"
        wrong = number // 10 % 10 < (4 if tag == "team-7" else 1)
        ends += ends_of(["a"], first=number, tags=(tag,))
        given.append(label(number, "b" if wrong else "a"))
    write(database, ends, given)
    report = report_of(database)
    (gap,) = report.performance[0].gaps
    assert (gap.segment, gap.verdict) == ("tag=team-7", "worse")
    assert gap.value == pytest.approx(0.6)
    assert gap.value_rest == pytest.approx(0.9)
    assert (gap.n, gap.n_rest) == (200, 1_800)
    assert gap.high < 0.0
    assert "tag=team-7 does worse than the rest" in render_text(report)


def test_segments_that_differ_by_luck_are_no_gap(database: Database) -> None:
    """The worst of twenty equal segments is named, not accused."""
    rng = np.random.default_rng(5)
    ends, given = [], []
    for number, wrong in enumerate(rng.random(2_000) < 0.2):
        ends += ends_of(["a"], first=number, tags=(f"t{number % 20}",))
        given.append(label(number, "b" if wrong else "a"))
    write(database, ends, given)
    (gap,) = of_chat(database).gaps
    assert gap.verdict == "no difference seen"
    assert gap.value < gap.value_rest


def overconfident(database: Database, count: int, *, days_ago: int, first: int) -> float:
    """Write labelled predictions whose confidence is too high; return their accuracy."""
    rng = np.random.default_rng(days_ago)
    confidence = rng.uniform(0.5, 1.0, count)
    right = rng.random(count) < confidence**2
    started = NOW - days_ago * DAY_US
    ends = [
        end_of(
            first + n, text=False, prediction="a", confidence=float(value), started_at=started + n
        )
        for n, value in enumerate(confidence)
    ]
    given = [
        Feedback(id_of(first + n), started + 3_600_000_000, "t", None, "a" if hit else "b")
        for n, hit in enumerate(right)
    ]
    write(database, ends, given if days_ago else ())
    return float(right.mean())


def test_accuracy_is_estimated_before_labels_come(database: Database) -> None:
    """Calibrated by older labels, confidence that promises too much tells the true accuracy."""
    overconfident(database, 3_000, days_ago=5, first=0)
    truth = overconfident(database, 3_000, days_ago=0, first=5_000)
    report = report_of(database)
    (found,) = report.performance
    assert found.estimated is not None
    assert (found.told, found.estimated.n, found.estimated.labels) == (0, 3_000, 3_000)
    assert found.estimated.low < truth < found.estimated.high
    assert found.estimated.value == pytest.approx(truth, abs=0.025)
    assert found.estimated.high < 0.65  # the mean of the confidence is 0.75
    assert "concept drift" in render_text(report)


def test_calibration_is_what_it_is_by_hand(database: Database) -> None:
    """Error of calibration, Brier score and log loss of two steps of confidence."""
    ends = [
        *ends_of(["a"] * 50, confidence=0.9),
        *ends_of(["a"] * 50, first=50, confidence=0.6),
    ]
    given = [label(n, "a" if n < 40 else "b") for n in range(50)]
    given += [label(n, "a" if n < 80 else "b") for n in range(50, 100)]
    write(database, ends, given)
    found = of_chat(database).calibration
    assert found is not None
    assert found.ece == pytest.approx(0.05, rel=1e-12)
    assert found.brier == pytest.approx(
        (40 * 0.01 + 10 * 0.81 + 30 * 0.16 + 20 * 0.36) / 100, rel=1e-12
    )
    losses = 40 * math.log(0.9) + 10 * math.log(0.1) + 30 * math.log(0.6) + 20 * math.log(0.4)
    assert found.log_loss == pytest.approx(-losses / 100, rel=1e-12)
    assert [(one.n, one.accuracy) for one in found.bins] == [(50, 0.6), (50, 0.8)]


def test_what_is_no_number_any_more_is_left_out(database: Database) -> None:
    """Scores and labels at the ends of what a number can be break no sum and no other row."""
    wild = [1e308, -1e308, 3.0, 3.0]
    given = [label(n, value, score=value) for n, value in enumerate(wild)]
    given += [label(n, word) for n, word in enumerate(("nan", "inf", "-inf", ""), start=4)]
    write(database, ends_of([0.5, "-inf", 1.0, 2.0, "nan", "inf", "x", "y"]), given)
    found = values(of_chat(database))
    assert (found["score"].value, found["score"].n) == (3.0, 2)
    assert "accuracy" in found
    assert render_text(report_of(database))
