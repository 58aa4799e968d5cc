from pathlib import Path

import msgspec
import pytest
from support.full_report import full_report
from support.report_log import HOUR, HOURS, START, fill, known_traffic, opened

from monitors.asked import ReportQuery
from monitors.config import MonitorsConfig
from monitors.report.build import build_report
from monitors.report.gates import Gate, Outcome, check_gates, parse_gates
from monitors.report.lower_bound import share_exceeds
from monitors.report.model import Finding, Report
from monitors.report.parts import Severity, Verdict
from monitors.report.text import render_text
from monitors.windows import Window
from storage.repository import Repository


def report_of(data_dir: Path, window: Window = HOURS) -> Report:
    """Return a report over known traffic: 2 of 8 requests of `chat` fail."""
    fill(data_dir, known_traffic())
    with opened(data_dir) as database:
        query = ReportQuery(window)
        return build_report(Repository(database), query, MonitorsConfig(), START + HOUR)


def finding(verdict: Verdict, severity: Severity = "none", cause: str = "") -> Finding:
    """Return one feature's finding."""
    return Finding(
        route="chat",
        feature="latency_s",
        kind="numeric",
        verdict=verdict,
        severity=severity,
        statistic="psi",
        value=0.4,
        low=0.3,
        high=0.5,
        threshold=0.05,
        n_reference=2000,
        n_current=400,
        missing_share=0.0,
        baseline="default@1",
        cause=cause,
        measurements={},
    )


def with_drift(report: Report, *findings: Finding) -> Report:
    """Return the report with other findings."""
    fields = {name: getattr(report, name) for name in report.__struct_fields__}
    return Report(**{**fields, "drift": findings})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a report without findings."""
    return report_of(tmp_path_factory.mktemp("report"))


def outcome(report: Report, gates: str) -> list[Outcome]:
    """Return the outcomes of gates."""
    return [result.outcome for result in check_gates(report, parse_gates(gates))]


def test_gates_are_read() -> None:
    """Words, levels and lists."""
    assert parse_gates("drift:critical, errors:0.05") == (
        Gate("drift", critical=True),
        Gate("errors", share=0.05),
    )
    assert parse_gates("errors") == (Gate("errors", share=0.01),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slo:",
        "drift:",
        "drift:bad",
        "errors:",
        "errors:5",
        "errors:x",
        "drift,,slo",
        "quality:x",
        "performance:x",
    ],
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    """The message names the words that there are, or the range."""
    with pytest.raises(ValueError, match=r"write `drift`|from 0 to 1"):
        parse_gates(text)


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("errors", "tripped"),
        ("errors:0.03", "tripped"),
        ("errors:0.04", "unknown"),
        ("errors:0.24", "unknown"),
        ("errors:0.25", "passed"),
    ],
)
def test_errors_trip_above_their_share(report: Report, gate: str, expected: str) -> None:
    """2 of 8 is 0.25, and its interval begins at 0.0319: between the two nobody can say."""
    assert outcome(report, gate) == [expected]


def test_the_message_says_which_route(report: Report) -> None:
    """A tripped gate names the route and its counts."""
    (result,) = check_gates(report, parse_gates("errors"))
    assert "chat has 2 of 8 (25.00%)" in result.message


@pytest.mark.parametrize(
    ("findings", "gate", "expected"),
    [
        ([finding("drift", "warning")], "drift", "tripped"),
        ([finding("drift", "warning")], "drift:critical", "passed"),
        ([finding("drift", "critical")], "drift:critical", "tripped"),
        ([finding("ok"), finding("not_enough_data")], "drift", "passed"),
        ([finding("not_enough_data"), finding("stale")], "drift", "unknown"),
        ([], "drift", "unknown"),
    ],
)
def test_drift_trips_by_severity(
    report: Report, findings: list[Finding], gate: str, expected: str
) -> None:
    """Without any feature that could be compared, nobody can tell."""
    assert outcome(with_drift(report, *findings), gate) == [expected]


def test_no_traffic_is_unknown(tmp_path: Path) -> None:
    """An empty interval passes no gate."""
    report = report_of(tmp_path, Window(START + HOUR, START + 2 * HOUR))
    assert outcome(report, "errors,drift") == ["unknown", "unknown"]


def test_the_table_shows_every_part(report: Report) -> None:
    """Routes, variants, percentiles, upstreams, drift and quality are there in words."""
    text = render_text(with_drift(report, finding("drift", "critical", "twice")), width=200)
    for word in ("primary", "candidate", "33.3%", "3.00 s", "backup", "drift", "critical", "twice"):
        assert word in text
    assert "1 interrupted" in text
    assert "\x1b" not in text


def test_colour_repeats_words(report: Report) -> None:
    """With colour, the text without its escapes is the same."""
    drifted = with_drift(report, finding("drift", "critical"))
    coloured = render_text(drifted, colour=True)
    assert "\x1b[31m" in coloured
    plain = render_text(drifted, colour=False)
    assert "drift" in plain


def test_words_of_upstreams_cannot_steer_a_terminal(report: Report) -> None:
    """Control characters and markup in categories are shown, not obeyed."""
    drifted = with_drift(report, finding("drift", "critical", "\x1b[2J[bold]boo"))
    text = render_text(drifted, width=200)
    assert "\x1b" not in text
    assert "[bold]boo" in text


@pytest.mark.parametrize("width", [40, 80, 110])
def test_words_and_numbers_stay_whole(report: Report, width: int) -> None:
    """However narrow the terminal, no name or figure is broken and no column is lost."""
    found = msgspec.structs.replace(
        finding("drift", "critical", "twice as long"), feature="time_per_output_token_s"
    )
    drifted = with_drift(report, found)
    wide = render_text(drifted, width=400)
    narrow = render_text(drifted, width=width).split()
    whole = {
        word for word in wide.split() if not word.startswith("\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    }
    assert whole - set(narrow) == set()


@pytest.mark.parametrize(
    ("hits", "n", "level", "expected"),
    [
        # Clopper and Pearson's lower ends: 0.0084 of 1 in 3, 0.00493 of 100 in 16,500.
        (1, 3, 0.0084, True),
        (1, 3, 0.0085, False),
        (0, 10, 0.0, False),
        (1, 10_000_000, 0.0, True),
        (100, 16_500, 0.0049, True),
        (100, 16_500, 0.0050, False),
        (5000, 100_000, 0.0486, True),
        (5000, 100_000, 0.0488, False),
    ],
)
def test_few_errors_show_little(hits: int, n: int, level: float, *, expected: bool) -> None:
    """The exact interval decides; 1 of 3 does not show more than 1 %."""
    assert share_exceeds(hits, n, level) is expected


@pytest.mark.parametrize(
    ("verdicts", "gate", "expected"),
    [
        (["breach"], "slo", "tripped"),
        (["ok"], "slo", "passed"),
        (["ok"], "slo:availability", "passed"),
        (["breach"], "slo:speed", "unknown"),
        (["not_enough_data"], "slo", "unknown"),
        ([], "slo", "unknown"),
    ],
)
def test_service_levels_trip_by_their_last_verdict(
    report: Report, verdicts: list[Verdict], gate: str, expected: str
) -> None:
    """All of them, or the one that is named; without any, nobody can tell."""
    (one,) = full_report().slos
    slos = tuple(msgspec.structs.replace(one, verdict=verdict) for verdict in verdicts)
    assert outcome(msgspec.structs.replace(report, slos=slos), gate) == [expected]


def test_quality_trips(report: Report) -> None:
    """A breach trips the gate, and the message names the feature."""
    found = msgspec.structs.replace(report, quality=full_report().quality)
    (result,) = check_gates(found, parse_gates("quality"))
    assert (result.outcome, "chat/input.age (warning)" in result.message) == ("tripped", True)


def test_performance_trips(report: Report) -> None:
    """A breach of labels or scores stops a pipeline; without a look nothing is known."""
    (unknown,) = check_gates(report, parse_gates("performance"))
    assert unknown.outcome == "unknown"
    told = full_report().performance_checks
    found = msgspec.structs.replace(report, performance_checks=told)
    (result,) = check_gates(found, parse_gates("performance"))
    assert result.outcome == "tripped"
    assert "chat/accuracy" in result.message
