import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.report_log import BEFORE, HOUR, HOURS, START, at, fill, known_traffic, opened, steady

from monitors.asked import ReportQuery
from monitors.config import MonitorsConfig
from monitors.report.as_json import ReportUnreadable, decode_report, encode_report
from monitors.report.build import build_report
from monitors.report.model import Report
from monitors.report.parts import Interval
from monitors.schedule import MonitorRun
from monitors.windows import Window
from storage.database import Database
from storage.records import Alert, Feedback, Verdict
from storage.repository import Repository
from storage.writer import Batch, write_batch

NOW = START + HOUR


def report_of(data_dir: Path, query: ReportQuery | None = None) -> Report:
    """Build a report over a data directory."""
    with opened(data_dir) as database:
        return build(database, query or ReportQuery(HOURS))


def build(database: Database, query: ReportQuery) -> Report:
    """Build a report over an open database."""
    return build_report(Repository(database), query, MonitorsConfig(), NOW)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the JSON of a report over known traffic; to be read alone."""
    data_dir = tmp_path_factory.mktemp("known")
    fill(data_dir, known_traffic(), torn=b"DGF")
    found: dict[str, Any] = json.loads(encode_report(report_of(data_dir)))
    return found


def variant(report: dict[str, Any], route: str, name: str, role: str = "primary") -> dict[str, Any]:
    """Return one row of `traffic`."""
    (row,) = [
        row
        for row in report["traffic"]
        if (row["route"], row["variant"], row["role"]) == (route, name, role)
    ]
    found: dict[str, Any] = row
    return found


def test_requests_and_errors_are_counted(known: dict[str, Any]) -> None:
    """Errors are ours alone; a 4xx is the client's; shares have their interval."""
    row = variant(known, "chat", "primary")
    assert (row["n"], row["errors"], row["refused"], row["interrupted"]) == (6, 2, 0, 1)
    assert row["error_share"] == pytest.approx(1 / 3)
    # Wilson's interval of 2 in 6, by hand.
    assert (row["error_low"], row["error_high"]) == pytest.approx((0.096771, 0.700007), abs=1e-6)
    other = variant(known, "chat", "candidate")
    assert (other["n"], other["errors"], other["refused"], other["fallbacks"]) == (2, 0, 1, 1)
    assert known["requests"] == 10


def test_reasons_are_listed(known: dict[str, Any]) -> None:
    """Each closed word with its status and count."""
    assert sorted(variant(known, "chat", "primary")["reasons"], key=str) == [
        {"reason": "interrupted", "status": 0, "n": 1},
        {"reason": "no_upstream", "status": 502, "n": 1},
    ]


def test_percentiles_are_exact(known: dict[str, Any]) -> None:
    """Interpolated between order statistics, interrupted rows left out."""
    row = variant(known, "chat", "primary")
    assert row["latency_s"]["n"] == 5
    expected = np.quantile([1, 2, 3, 4, 5], [0.5, 0.95, 0.99])
    assert [row["latency_s"][q] for q in ("p50", "p95", "p99")] == pytest.approx(expected)
    assert row["ttft_s"] == pytest.approx({"n": 3, "p50": 0.2, "p95": 0.29, "p99": 0.298})
    assert row["overhead_s"]["p50"] == pytest.approx(0.003)


def test_tokens_cost_and_cache_are_summed(known: dict[str, Any]) -> None:
    """Sums are over rows that know the number, and say how many those are."""
    row = variant(known, "chat", "primary")
    assert (row["prompt_tokens"], row["response_tokens"], row["tokens_known"]) == (50, 120, 6)
    assert (row["cost_usd"], row["cost_known"]) == (pytest.approx(0.752), 4)
    assert (row["cache_hits"], row["cache_misses"]) == (1, 2)
    assert row["cache_hit_share"] == pytest.approx(1 / 3)
    assert variant(known, "chat", "candidate")["cache_hit_share"] is None


def test_a_route_adds_its_variants_up(known: dict[str, Any]) -> None:
    """Shadows do not count; percentiles are over all variants' rows."""
    chat, other = known["routes"]
    assert (chat["route"], chat["n"], chat["errors"]) == ("chat", 8, 2)
    seconds = [1, 2, 3, 4, 5, 6, 8]
    assert chat["latency_p50_s"] == pytest.approx(np.quantile(seconds, 0.5))
    assert chat["latency_p95_s"] == pytest.approx(np.quantile(seconds, 0.95))
    assert chat["cost_usd"] == pytest.approx(0.754)
    assert (other["route"], other["n"], other["errors"]) == ("other", 2, 0)


def test_shadows_stand_beside(known: dict[str, Any]) -> None:
    """A shadow has its own row and is in no total."""
    assert variant(known, "chat", "candidate", "shadow")["n"] == 1


def test_upstreams_count_tries(known: dict[str, Any]) -> None:
    """Tries, failures and those that were not the first, by upstream and role."""
    rows = {(row["upstream"], row["role"]): row for row in known["upstreams"]}
    backup, primary = rows["backup", "primary"], rows["primary", "primary"]
    assert (backup["n"], backup["failed"], backup["retries"]) == (1, 0, 1)
    assert (primary["n"], primary["failed"], primary["retries"]) == (10, 1, 0)
    assert primary["failed_share"] == pytest.approx(0.1)
    assert backup["latency_p50_s"] == pytest.approx(0.4)
    assert rows["primary", "shadow"]["n"] == 1


def test_data_quality_is_told(known: dict[str, Any]) -> None:
    """Unknown numbers, losses of the spool and missing values are counted."""
    quality = known["data_quality"]
    assert (quality["interrupted"], quality["tokens_unknown"]) == (1, 1)
    assert quality["cost_unknown"] == 2
    assert quality["spool_losses"] == [{"kind": "torn", "n": 1, "frames": 0, "bytes": 3}]
    shares = {(m["route"], m["feature"]): m for m in quality["missing"]}
    ttft = {"route": "chat", "feature": "ttft_s", "n": 8, "missing": 3, "share": 0.375}
    assert shares["chat", "ttft_s"] == ttft
    assert ("chat", "error") not in shares


def test_a_missing_baseline_is_noted(known: dict[str, Any]) -> None:
    """Without a baseline there are no findings; a note says when there will be one."""
    assert known["drift"] == []
    (note,) = (note for note in known["notes"] if "`chat`" in note)
    assert "the first 3 days become its baseline at 2023-11-17T22:01:01Z" in note
    assert "`monitor baseline set` sets one now" in note


def test_the_report_names_itself(known: dict[str, Any]) -> None:
    """Version, interval and time of making."""
    assert (known["version"], known["generated_at"]) == (1, NOW)
    assert known["interval"] == {"from_us": HOURS.from_us, "to_us": HOURS.to_us}


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        (ReportQuery(HOURS, route="other"), 2),
        (ReportQuery(HOURS, model="m-2"), 8),
        (ReportQuery(Window(START, START + 3_000_000)), 2),
        (ReportQuery(Window(START + HOUR, START + 2 * HOUR)), 0),
    ],
)
def test_a_report_is_narrowed(tmp_path: Path, query: ReportQuery, requests: int) -> None:
    """Route, model and interval choose the rows; an empty interval is no error."""
    fill(tmp_path, known_traffic())
    assert report_of(tmp_path, query).requests == requests


class Compared:
    """Logs of 400 rows with a baseline of 2,000, each written once and then only read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def report(self, longer: float, *, exact: bool = False, rows_to_read: int = 50_000) -> Report:
        """Return a report over prompts that became so many times longer."""
        data_dir = self.folder / str(longer)
        if not data_dir.exists():
            self._write(data_dir, longer)
        with opened(data_dir) as database:
            query = ReportQuery(HOURS, exact=exact)
            repository = Repository(database)
            return build_report(repository, query, MonitorsConfig(), NOW, rows_to_read=rows_to_read)

    def _write(self, data_dir: Path, longer: float) -> None:
        ends = [
            *steady(2000, BEFORE, first=1),
            *steady(400, HOURS, first=5000, longer=longer),
        ]
        fill(data_dir, ends)
        with opened(data_dir) as database:
            monitor = MonitorRun(Repository(database), MonitorsConfig(), (), lambda _: None)
            monitor.set_baseline("default", "chat", BEFORE, START)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Return logs that the tests share."""
    return Compared(tmp_path_factory.mktemp("compared"))


@pytest.mark.parametrize("longer", [1.0, 1.2, 2.0])
def test_counts_say_what_rows_say(compared: Compared, longer: float) -> None:
    """From roll-ups alone: the same counts and verdicts, percentiles and distances within 1 %."""
    rows, counted = compared.report(longer), compared.report(longer, rows_to_read=0)
    assert (rows.exact, counted.exact) == (True, False)
    assert counted.relative_error < 0.01
    (before,), (now,) = rows.traffic, counted.traffic
    for name in ("p50", "p95", "p99"):
        exact = getattr(before.latency_s, name)
        assert getattr(now.latency_s, name) == pytest.approx(exact, rel=0.02)
    blank = {
        "latency_s": before.latency_s,
        "ttft_s": before.ttft_s,
        "overhead_s": before.overhead_s,
    }
    assert msgspec.structs.replace(now, **blank) == before
    assert [f.verdict for f in counted.drift] == [f.verdict for f in rows.drift]
    assert [f.severity for f in counted.drift] == [f.severity for f in rows.drift]
    assert counted.data_quality == rows.data_quality
    for found, expected in zip(counted.drift, rows.drift, strict=True):
        most = found.measurements.get("ks_most", found.measurements.get("ks", 0.0))
        least, exact = found.measurements.get("ks", 0.0), expected.measurements.get("ks", 0.0)
        assert least - 1e-9 <= exact <= most + 1e-9


def test_exact_counts_rows_of_a_large_window(compared: Compared) -> None:
    """Asked for, percentiles and cells are those of the rows, whatever their number."""
    rows = compared.report(1.2)
    asked = compared.report(1.2, exact=True, rows_to_read=0)
    assert (asked.exact, asked.relative_error) == (True, 0.0)
    (found,), (expected,) = asked.traffic, rows.traffic
    for measure in ("latency_s", "ttft_s", "overhead_s"):
        wanted = msgspec.structs.astuple(getattr(expected, measure))
        assert msgspec.structs.astuple(getattr(found, measure)) == pytest.approx(wanted, rel=1e-15)
    for one, other in ((asked.routes[0], rows.routes[0]), (asked.upstreams[0], rows.upstreams[0])):
        assert one.latency_p50_s == pytest.approx(other.latency_p50_s, rel=1e-15)
        assert one.latency_p95_s == pytest.approx(other.latency_p95_s, rel=1e-15)
    assert [(f.value, f.low, f.high) for f in asked.drift] == [
        (f.value, f.low, f.high) for f in rows.drift
    ]


def test_drift_is_found(compared: Compared) -> None:
    """Prompts twice as long are drift of that feature, with its interval, sizes and baseline."""
    findings = {found.feature: found for found in compared.report(2.0).drift}
    prompt, latency = findings["prompt_tokens"], findings["latency_s"]
    assert (prompt.verdict, prompt.severity, latency.verdict) == ("drift", "critical", "ok")
    assert (prompt.n_reference, prompt.n_current, prompt.baseline) == (2000, 400, "default@1")
    assert prompt.value is not None
    assert prompt.low is not None
    assert prompt.high is not None
    assert 0.25 < prompt.low < prompt.value < prompt.high
    assert prompt.measurements["median"] == pytest.approx(298)
    assert prompt.missing_share == 0.0


def test_steady_traffic_is_no_drift(compared: Compared) -> None:
    """The same distribution is `ok` throughout, or has not enough data."""
    report = compared.report(1.0)
    verdicts = {found.feature: found.verdict for found in report.drift}
    assert verdicts["prompt_tokens"] == "ok"
    assert "drift" not in verdicts.values()


def test_an_overlapping_baseline_is_noted(tmp_path: Path) -> None:
    """A baseline that shares rows with the interval understates drift, and the report says so."""
    fill(tmp_path, steady(500, HOURS, first=1))
    with opened(tmp_path) as database:
        monitor = MonitorRun(Repository(database), MonitorsConfig(), (), lambda _: None)
        monitor.set_baseline("default", "chat", HOURS, START)
        report = build(database, ReportQuery(HOURS))
    assert any("overlaps this interval" in note for note in report.notes)


def test_alerts_of_the_interval_are_listed(tmp_path: Path) -> None:
    """An episode counts when it was open at some time of the interval."""
    fill(tmp_path, known_traffic())
    old = Alert(
        "a", "drift.opened", "chat", "drift", "resolved", "warning", 0, 0, START - 1, "", {}
    )
    began: dict[str, object] = {
        "features": [{"onset_at": "2023-11-14T21:00:00Z"}, {"feature": "refusal"}]
    }
    now = Alert(
        "b", "drift.opened", "chat", "drift", "open", "critical", START, START, None, "s", began
    )
    routes: dict[str, object] = {"routes": ["chat", "mail"]}
    both = Alert("c", "drift.opened", "*", "drift", "open", "warning", 0, 0, None, "s", routes)
    with opened(tmp_path) as database:
        Repository(database).save_alerts([old, now, both])
        report = build(database, ReportQuery(HOURS, route="chat"))
        other = build(database, ReportQuery(HOURS, route="other"))
    assert [(a.id, a.state, a.severity, a.onset_at) for a in report.alerts] == [
        ("b", "open", "critical", START - HOUR),
        ("c", "open", "warning", None),
    ]
    assert other.alerts == ()


def test_json_is_read_back(tmp_path: Path) -> None:
    """What is encoded decodes to the same report; keys it does not know do no harm."""
    fill(tmp_path, known_traffic())
    report = report_of(tmp_path)
    assert decode_report(encode_report(report)) == report
    later = json.loads(encode_report(report)) | {"weather": "fine"}
    assert decode_report(json.dumps(later).encode()) == report


@pytest.mark.parametrize("text", [b"<html>", b"{}", b'{"version": 2}', b'{"version": 1}'])
def test_what_is_no_report_is_refused(text: bytes) -> None:
    """Other texts and other versions are refused with a reason."""
    with pytest.raises(ReportUnreadable, match=r"no report|version 2"):
        decode_report(text)


def test_field_names_are_the_keys(known: dict[str, Any]) -> None:
    """JSON keys are the fields' names, all of them, so that scripts can rely on them."""
    assert set(known) == {field.name for field in msgspec.structs.fields(Report)}


def parts_log(data_dir: Path) -> None:
    """Fill a log with two variants of a route: the candidate answers slower, with scores."""
    ends = [
        at(
            second,
            second,
            variant="primary" if second % 2 else "candidate",
            latency_s=1.0 + second % 7 / 10 + (0.0 if second % 2 else 0.5),
            status=200 if second % 2 or second % 8 else 502,
            reason=None if second % 2 or second % 8 else "upstream_error",
        )
        for second in range(1, 401)
    ]
    fill(data_dir, [*ends, at(500, 999)])
    given = [
        Feedback(end.prediction.id, START, "default", score=4.0 + number % 3 - number % 2)
        for number, end in enumerate(ends)
    ]
    batch = Batch((), (), given, (), ())
    with opened(data_dir) as database, database.cursor() as cursor:
        write_batch(cursor, batch, now_us=START)


def test_variants_stand_side_by_side(tmp_path: Path) -> None:
    """Each against the largest of its route: difference, interval and rows of every metric."""
    parts_log(tmp_path)
    found = {row.metric: row for row in report_of(tmp_path).differences}
    assert {(row.variant, row.against) for row in found.values()} == {("candidate", "primary")}
    latency, errors, score = found["latency_s"], found["error_share"], found["score"]
    assert (latency.n, latency.n_before) == (200, 201)
    assert latency.difference == pytest.approx(0.5, abs=0.02)
    assert latency.low is not None
    assert latency.low > 0.3
    assert (errors.value, errors.value_before) == (0.25, 0.0)
    assert (errors.low or 0.0) > 0.1
    assert score.difference == pytest.approx(-1.0, abs=0.05)
    assert (score.n, score.n_before) == (200, 200)


def test_few_rows_have_no_interval(known: dict[str, Any]) -> None:
    """Means of fewer than 20 rows are told without a difference."""
    rows = {row["metric"]: row for row in known["differences"]}
    latency = rows["latency_s"]
    assert (latency["n_before"], latency["n"], latency["difference"]) == (5, 2, None)
    assert latency["value"] == pytest.approx(7.0, rel=0.01)
    assert rows["error_share"]["low"] < 0 < rows["error_share"]["high"]


def test_details_come_when_asked_for(tmp_path: Path) -> None:
    """The timeline adds up to the counts; histograms to the rows that were compared."""
    fill(tmp_path, [*steady(2000, BEFORE, first=1), *steady(400, HOURS, first=5000, longer=2.0)])
    with opened(tmp_path) as database:
        monitor = MonitorRun(Repository(database), MonitorsConfig(), (), lambda _: None)
        monitor.set_baseline("default", "chat", BEFORE, START)
        plain = build(database, ReportQuery(HOURS))
        report = build(database, ReportQuery(HOURS, detail=True))
    assert (plain.timeline, {f.histogram for f in plain.drift}) == (None, {()})
    assert report.timeline is not None
    assert report.timeline.step_s == 300.0
    assert [step.n for step in report.timeline.steps] == [34, *[33, 33, 34] * 3, 33, 33]
    prompt = next(f for f in report.drift if f.feature == "prompt_tokens")
    assert sum(one.reference for one in prompt.histogram) == 2000
    assert sum(one.current for one in prompt.histogram) == 400
    assert prompt.p_adjusted is not None
    assert prompt.p_adjusted < 1e-10
    (baseline,) = report.baselines
    assert (baseline.name, baseline.source, baseline.rows) == ("default", "period", 2000)


def verdict_of(monitor: str, feature: str, at_us: int, **facts: Any) -> Verdict:
    """Return a stored verdict."""
    given: dict[str, Any] = {
        "verdict": "breach",
        "details": {"cause": "why", "budget_left": 0.4, "open": True},
        **facts,
    }
    return Verdict(
        id=f"{monitor}:{feature}:{at_us}",
        at=at_us,
        monitor=monitor,
        route="chat",
        feature=feature,
        kind="numeric",
        severity="warning",
        statistic="burn_rate",
        value=6.5,
        low=5.0,
        high=8.0,
        threshold=6.0,
        n_reference=0,
        n_current=1000,
        window_from=at_us - HOUR,
        window_to=at_us,
        baseline="default@1",
        **given,
    )


def test_the_last_verdicts_of_the_interval_count(tmp_path: Path) -> None:
    """Of SLOs, quality, spend and segments; what was said before or after is left out."""
    fill(tmp_path, known_traffic())
    onset = {"onset_at": START + 5, "cause": "moved"}
    verdicts = [
        verdict_of("slo", "availability", START + 1, verdict="ok"),
        verdict_of("slo", "availability", START + 2),
        verdict_of("slo", "availability", START + HOUR, verdict="ok"),
        verdict_of("slo", "old", START - 1),
        verdict_of("quality", "input.age", START + 3),
        verdict_of("spend", "usd_per_day", START + 4, verdict="ok"),
        verdict_of(
            "drift", "ttft_s", START + 4, verdict="drift", segment="variant=b", details=onset
        ),
        verdict_of("drift", "latency_s", START + 4, verdict="ok", segment="variant=b"),
    ]
    with opened(tmp_path) as database:
        Repository(database).save_verdicts(verdicts)
        report = build(database, ReportQuery(HOURS))
    (slo,) = report.slos
    assert (slo.subject, slo.verdict, slo.at) == ("availability", "breach", START + 2)
    assert (slo.cause, slo.measurements) == ("why", {"budget_left": 0.4})
    assert [check.subject for check in report.quality] == ["input.age"]
    assert [check.verdict for check in report.spend] == ["ok"]
    (segment,) = report.drift
    assert (segment.segment, segment.feature, segment.onset_at) == (
        "variant=b",
        "ttft_s",
        START + 5,
    )
    assert segment.window == Interval(START + 4 - HOUR, START + 4)


def test_rollouts_of_the_interval_are_listed(tmp_path: Path) -> None:
    """Oldest first, with who did it."""
    fill(tmp_path, known_traffic())
    statement = "INSERT INTO rollout_events VALUES (make_timestamp(?), ?, ?, 'operator', ?, '{}')"
    with opened(tmp_path) as database:
        with database.cursor() as cursor:
            for at_us, route in ((START + 9, "chat"), (START + 1, "other"), (START - 1, "chat")):
                cursor.execute(statement, [at_us, route, "step", "to 5 %"])
        report = build(database, ReportQuery(HOURS))
        narrowed = build(database, ReportQuery(HOURS, route="chat"))
    assert [(r.at, r.route) for r in report.rollouts] == [(START + 1, "other"), (START + 9, "chat")]
    assert [(r.event, r.actor, r.summary) for r in narrowed.rollouts] == [
        ("step", "operator", "to 5 %")
    ]


def test_an_empty_interval_says_what_to_do(tmp_path: Path) -> None:
    """Where the newest prediction is; without any, how to send one."""
    later = Window(START + HOUR, START + 2 * HOUR)
    fill(tmp_path / "some", known_traffic())
    (note,) = report_of(tmp_path / "some", ReportQuery(later)).notes
    assert "the newest one is of 2023-11-14T22:00:10Z" in note
    fill(tmp_path / "none", [])
    (note,) = report_of(tmp_path / "none", ReportQuery(later)).notes
    assert "send traffic through the gateway" in note
