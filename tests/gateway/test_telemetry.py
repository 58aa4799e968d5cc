"""Metrics: what is counted, what is bounded, and what a scrape gets."""

import math
import shutil
import subprocess
import threading
import time

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.log_records import NOW, end_of
from support.telemetry_feed import (
    SECOND_US,
    ends_of,
    feed,
    settings_of,
    slo_verdict_of,
    stats_of,
    verdict_of,
)

from gateway.aggregates import MAX_SERIES, Aggregates
from gateway.delivery import DeliveryStatistics
from gateway.telemetry import Telemetry
from monitors import metrics as m
from storage.ingest import IngestStatistics
from storage.records import Attempt, End, WorkerStats
from storage.writer import Loss

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class FixedClock:
    """Shows the time it is given."""

    def __init__(self) -> None:
        self.us = NOW

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.us / SECOND_US


@pytest.fixture
def clock() -> FixedClock:
    """Return a clock that a test moves."""
    return FixedClock()


@pytest.fixture
def telemetry(clock: FixedClock) -> Telemetry:
    """Return metrics of two upstreams and one route."""
    return Telemetry(settings_of(), clock=clock)


def value_of(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    """Return the sum of a sample over the series with these labels; None without any."""
    found = [
        sample.value
        for family in parse_text(telemetry.render("")[0].decode())
        for sample in family.samples
        if sample.name == f"driftgate_{name}" and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None


def test_request_is_counted_under_its_labels(telemetry: Telemetry) -> None:
    """An answered request counts once, by route, variant, upstream, role, status and reason."""
    telemetry.observe([end_of(1)])
    labels = {
        "route": "chat", "variant": "primary", "upstream": "primary",
        "role": "primary", "status": "2xx", "reason": "none",
    }  # fmt: skip
    assert value_of(telemetry, "requests_total", **labels) == 1.0
    assert value_of(telemetry, "requests_total") == 1.0


def test_failed_request_is_counted_by_class_and_reason(telemetry: Telemetry) -> None:
    """A 502 nobody answered counts as 5xx with its reason and the upstream `none`."""
    telemetry.observe([end_of(1, status=502, reason="upstream_unreachable", upstream="")])
    labels = {"status": "5xx", "reason": "upstream_unreachable", "upstream": "none"}
    assert value_of(telemetry, "requests_total", **labels) == 1.0


def test_durations_fall_into_their_buckets(telemetry: Telemetry) -> None:
    """A latency on a boundary belongs to the bucket of that boundary."""
    telemetry.observe([end_of(1, latency_s=0.32), end_of(2, latency_s=0.33)])
    name = "request_duration_seconds"
    assert value_of(telemetry, f"{name}_bucket", le="0.32") == 1.0
    assert value_of(telemetry, f"{name}_bucket", le="0.64") == 2.0
    assert value_of(telemetry, f"{name}_sum") == pytest.approx(0.65)


def test_first_token_is_of_streams_only(telemetry: Telemetry) -> None:
    """A plain answer has no time to first token."""
    telemetry.observe([end_of(1, stream=True, ttft_s=0.2), end_of(2, stream=False, ttft_s=0.2)])
    assert value_of(telemetry, "time_to_first_token_seconds_count") == 1.0


def test_each_attempt_is_counted(telemetry: Telemetry) -> None:
    """A fallback is two attempts, one of them with a reason, and one fallback."""
    end = end_of(1, upstream="spare", fallback_from="primary")
    tries = (
        Attempt(1, "primary", NOW, 0.1, 503, "upstream_error"),
        Attempt(2, "spare", NOW, 0.2, 200),
    )
    telemetry.observe([End(end.prediction, tries)])
    failed = {"upstream": "primary", "reason": "upstream_error"}
    assert value_of(telemetry, "upstream_attempts_total", **failed) == 1.0
    assert value_of(telemetry, "upstream_attempts_total", upstream="spare", reason="none") == 1.0
    assert value_of(telemetry, "fallbacks_total", chosen="primary", answered="spare") == 1.0


def test_cache_hits_use_no_tokens(telemetry: Telemetry) -> None:
    """An answer from the cache counts as a hit; its tokens were paid for before."""
    telemetry.observe([end_of(1, cache="hit"), end_of(2, cache="miss")])
    assert value_of(telemetry, "cache_requests_total", outcome="hit") == 1.0
    assert value_of(telemetry, "tokens_total", direction="response") == 20.0
    assert value_of(telemetry, "cost_usd_total") == pytest.approx(0.001)


def test_shadows_do_not_count_as_users_waits(telemetry: Telemetry) -> None:
    """A shadow is a request with its role, and in no latency histogram."""
    telemetry.observe([end_of(1, role="shadow")])
    assert value_of(telemetry, "requests_total", role="shadow") == 1.0
    assert value_of(telemetry, "request_duration_seconds_count") is None


@pytest.mark.parametrize("tokens", [-5, 0])
def test_nothing_makes_a_counter_fall(telemetry: Telemetry, tokens: int) -> None:
    """An upstream that reports negative usage cannot make a counter look reset."""
    telemetry.observe([end_of(1)])
    telemetry.observe([end_of(2, response_tokens=tokens, cost_usd=-1.0)])
    assert value_of(telemetry, "tokens_total", direction="response") == 20.0
    assert value_of(telemetry, "cost_usd_total") == pytest.approx(0.001)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_no_number_spoils_a_histogram(telemetry: Telemetry, seconds: float) -> None:
    """A duration that is none leaves sum and count as they were."""
    telemetry.observe([end_of(1, latency_s=0.5), end_of(2, latency_s=seconds)])
    assert value_of(telemetry, "request_duration_seconds_sum") == 0.5
    assert value_of(telemetry, "request_duration_seconds_count") == 1.0


def test_random_names_make_no_series(telemetry: Telemetry) -> None:
    """100,000 names that no configuration has are one series, and every request is counted."""
    before = telemetry.statistics().series
    for start in range(0, 100_000, 10_000):
        numbers = range(start, start + 10_000)
        telemetry.observe(
            [end_of(i, text=False, route=f"r{i}", variant=f"v{i}", reason=f"w{i}") for i in numbers]
        )
    assert value_of(telemetry, "requests_total", route="other", reason="other") == 100_000
    assert telemetry.statistics().series < before + 12


def test_full_metric_counts_under_other() -> None:
    """Beyond the cap nothing is lost but its detail, and how much is said."""
    aggregates = Aggregates()
    names = [f"n{i}" for i in range(MAX_SERIES + 500)]
    for name in names:
        aggregates.add(m.REFUSED, (name,))
        aggregates.observe(m.ATTEMPT_DURATION, (name,), 0.1)
    families = {family.name: family for family in aggregates.families()}
    refused = families["driftgate_refused_requests"].samples
    assert len(refused) == MAX_SERIES + 1
    assert sum(sample.value for sample in refused) == len(names)
    assert next(s.value for s in refused if s.labels == {"reason": "other"}) == 500
    assert families["driftgate_metrics_series_dropped"].samples[0].value == 1000


def test_worker_restart_keeps_the_count(telemetry: Telemetry) -> None:
    """A worker whose counters start again at zero adds to what was counted before."""
    for counted in (5, 7, 2, 3):
        telemetry.observe_stats([stats_of(NOW, counted=counted)])
    assert value_of(telemetry, "unlogged_predictions_total") == 10.0
    assert value_of(telemetry, "refused_requests_total", reason="overloaded") == 10.0


def test_workers_add_up(telemetry: Telemetry) -> None:
    """Counters of two workers are one series; gauges have one series a worker."""
    telemetry.observe_stats([stats_of(NOW, worker="w0"), stats_of(NOW, worker="w1", counted=4)])
    assert value_of(telemetry, "shadows_dropped_total") == 7.0
    assert value_of(telemetry, "in_flight_requests", worker="w1") == 2.0
    assert value_of(telemetry, "upstream_connections", upstream="primary") == 10.0


def test_silent_worker_is_forgotten(telemetry: Telemetry, clock: FixedClock) -> None:
    """Gauges of a worker that reports no more disappear; what it counted stays."""
    telemetry.observe_stats([stats_of(NOW)])
    clock.us += 31 * SECOND_US
    assert value_of(telemetry, "in_flight_requests") is None
    assert value_of(telemetry, "breaker_open") is None
    assert value_of(telemetry, "unlogged_predictions_total") == 3.0


def test_breakers_have_their_values(telemetry: Telemetry) -> None:
    """An open breaker is 1, a closed one 0."""
    telemetry.observe_stats([stats_of(NOW)])
    assert value_of(telemetry, "breaker_open", upstream="primary") == 1.0
    assert value_of(telemetry, "breaker_open", upstream="spare") == 0.0


def test_lateness_and_queues_of_a_worker_are_shown(telemetry: Telemetry, clock: FixedClock) -> None:
    """The loop's longest and mean delay and both queues are gauges that end with their worker."""
    telemetry.observe_stats([stats_of(NOW)])
    assert value_of(telemetry, "event_loop_lag_seconds", worker="w0") == 0.002
    assert value_of(telemetry, "event_loop_lag_mean_seconds", worker="w0") == 0.001
    assert value_of(telemetry, "waiting_requests", worker="w0") == 4.0
    assert value_of(telemetry, "upstream_waiting_requests", upstream="primary") == 6.0
    clock.us += 31 * SECOND_US
    assert value_of(telemetry, "upstream_waiting_requests") is None
    assert value_of(telemetry, "waiting_requests") is None


def test_verdict_shows_effect_rows_and_state(telemetry: Telemetry) -> None:
    """A look shows its effects, the rows behind them, the verdict and when it was."""
    telemetry.observe_verdicts([verdict_of("prompt_tokens")])
    where = {"route": "chat", "feature": "prompt_tokens"}
    assert value_of(telemetry, "drift_effect", statistic="psi", **where) == 0.31
    assert value_of(telemetry, "drift_effect", statistic="wasserstein_sd", **where) == 0.4
    assert value_of(telemetry, "drift_samples", window="current", **where) == 800.0
    assert value_of(telemetry, "drift_state", **where) == 1.0
    assert value_of(telemetry, "drift_look_timestamp_seconds") == NOW / SECOND_US
    assert value_of(telemetry, "alerts_open", route="chat", kind="drift") == 1.0


def test_look_without_enough_rows_shows_no_old_effect(telemetry: Telemetry) -> None:
    """Once there are too few rows, the effect of the look before is gone."""
    telemetry.observe_verdicts([verdict_of("prompt_tokens")])
    telemetry.observe_verdicts(
        [verdict_of("prompt_tokens", verdict="not_enough_data", value=None, details={})]
    )
    assert value_of(telemetry, "drift_effect") is None
    assert value_of(telemetry, "drift_state", feature="prompt_tokens") == 2.0
    assert value_of(telemetry, "alerts_open", route="chat") == 0.0


def test_objectives_show_their_burn_rates_and_what_is_left(telemetry: Telemetry) -> None:
    """A verdict on an objective gives a series for each window; a route that goes takes them."""
    telemetry.observe_breaches([slo_verdict_of()])
    where = {"route": "chat", "slo": "errors"}
    assert value_of(telemetry, "slo_burn_rate", span="1h", **where) == 20.0
    assert value_of(telemetry, "slo_budget_left_ratio", **where) == 0.25
    assert value_of(telemetry, "alerts_open", route="chat", kind="slo") == 1.0
    telemetry.observe_breaches([slo_verdict_of(is_open=False)])
    assert value_of(telemetry, "alerts_open", route="chat", kind="slo") == 0.0
    telemetry.reconfigure(settings_of(routes=("other-route",)))
    assert value_of(telemetry, "slo_burn_rate") is None
    assert value_of(telemetry, "alerts_open") is None


def test_removed_route_leaves_the_gauges(telemetry: Telemetry) -> None:
    """A reload that drops a route drops its drift; its requests stay counted."""
    telemetry.observe([end_of(1)])
    telemetry.observe_verdicts([verdict_of("prompt_tokens")])
    telemetry.reconfigure(settings_of(routes=("other-route",)))
    assert value_of(telemetry, "drift_state") is None
    assert value_of(telemetry, "alerts_open") is None
    assert value_of(telemetry, "requests_total", route="chat") == 1.0


def test_reload_keeps_what_was_counted(telemetry: Telemetry) -> None:
    """The same configuration again changes no value."""
    telemetry.observe(ends_of(50))
    before = value_of(telemetry, "requests_total")
    telemetry.reconfigure(settings_of())
    assert value_of(telemetry, "requests_total") == before == 50.0


def test_usual_series_begin_at_zero(telemetry: Telemetry) -> None:
    """Requests, fallbacks and tries of the configuration show before the first of them."""
    assert value_of(telemetry, "requests_total", status="2xx") == 0.0
    assert value_of(telemetry, "fallbacks_total", chosen="primary", answered="spare") == 0.0
    assert value_of(telemetry, "upstream_attempts_total", upstream="spare") == 0.0


def test_ingest_and_deliveries_are_totals(telemetry: Telemetry) -> None:
    """Totals handed over twice count once."""
    for _ in range(2):
        telemetry.set_ingest(IngestStatistics(10, 20, 3, 4))
        telemetry.set_lag(lag_bytes=99, lag_s=1.5)
        telemetry.set_deliveries(DeliveryStatistics(delivered=2, failed=1))
    assert value_of(telemetry, "ingested_records_total") == 10.0
    assert value_of(telemetry, "ingest_failures_total") == 4.0
    assert value_of(telemetry, "ingest_lag_bytes") == 99.0
    assert value_of(telemetry, "ingest_lag_seconds") == 1.5
    assert value_of(telemetry, "deliveries_total", state="delivered") == 2.0


def test_losses_of_the_spool_are_counted_by_kind(telemetry: Telemetry) -> None:
    """Every kind shows before its first; a word of another program is `other`."""
    assert value_of(telemetry, "spool_losses_total", kind="torn") == 0.0
    telemetry.observe_losses([Loss("s", 0, 512, kind, 0, 9) for kind in ("torn", "torn", "new")])
    assert value_of(telemetry, "spool_losses_total", kind="torn") == 2.0
    assert value_of(telemetry, "spool_losses_total", kind="other") == 1.0


def test_the_spool_of_a_worker_is_shown(telemetry: Telemetry) -> None:
    """How full it is, and what that has cost."""
    stats = WorkerStats(
        "w0", NOW, payloads_dropped=3, late_syncs=2, failed_syncs=1, spool_full=True,
        reserve_bytes=7, spool_bytes=90, unread_bytes=45, spool_share=0.5,
    )  # fmt: skip
    telemetry.observe_stats([stats])
    assert value_of(telemetry, "spool_full", worker="w0") == 1.0
    assert value_of(telemetry, "spool_reserve_bytes", worker="w0") == 7.0
    assert value_of(telemetry, "spool_bytes") == 90.0
    assert value_of(telemetry, "spool_quota_share", worker="w0") == 0.5
    assert value_of(telemetry, "payloads_dropped_total") == 3.0
    assert value_of(telemetry, "spool_late_syncs_total") == 2.0
    assert value_of(telemetry, "spool_failed_syncs_total") == 1.0


@pytest.mark.parametrize(
    ("accept", "start"),
    [
        ("", "text/plain"),
        ("text/plain;version=0.0.4", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
    ],
)
def test_format_follows_accept(telemetry: Telemetry, accept: str, start: str) -> None:
    """Prometheus text by default, OpenMetrics when asked for; both parse."""
    feed(telemetry, 1, NOW)
    body, content_type = telemetry.render(accept)
    assert content_type.startswith(start)
    parse = parse_openmetrics if accept == OPENMETRICS else parse_text
    assert {family.name for family in parse(body.decode())} >= {"driftgate_build_info"}


def test_every_family_is_declared_and_every_declared_one_shows(telemetry: Telemetry) -> None:
    """The exposition and the list of names are the same."""
    feed(telemetry, 1, NOW)
    shown = {family.name for family in parse_text(telemetry.render("")[0].decode())}
    expected = {f"{metric.full_name}" for metric in m.METRICS}
    assert shown == expected
    for family in parse_text(telemetry.render("")[0].decode()):
        assert family.samples, family.name


def test_labels_are_those_declared(telemetry: Telemetry) -> None:
    """Each sample has the labels of its metric, and each label is documented."""
    feed(telemetry, 1, NOW)
    declared = {metric.full_name: set(metric.labels) for metric in m.METRICS}
    for family in parse_text(telemetry.render("")[0].decode()):
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == declared[family.name], sample
    assert {label for metric in m.METRICS for label in metric.labels} == set(m.LABELS)


def test_promtool_accepts_the_exposition(telemetry: Telemetry) -> None:
    """Prometheus's own linter finds nothing to say."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: run `make servers`"
    feed(telemetry, 1, NOW)
    body, _ = telemetry.render("")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_scrapes_and_batches_may_meet(telemetry: Telemetry) -> None:
    """Rendering while records arrive loses none and breaks no scrape."""
    batches = [ends_of(20, seed=seed) for seed in range(30)]

    def write() -> None:
        for batch in batches:
            telemetry.observe(batch)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        list(parse_text(telemetry.render("")[0].decode()))
    writer.join(10.0)
    assert value_of(telemetry, "requests_total") == 600.0


def test_record_costs_few_microseconds(telemetry: Telemetry) -> None:
    """A record takes at most 15 µs of CPU, in the best of five batches."""
    ends = ends_of(2_000)
    best_s = math.inf
    for _ in range(5):
        started_s = time.thread_time()
        telemetry.observe(ends)
        best_s = min(best_s, time.thread_time() - started_s)
    assert best_s / len(ends) <= 15e-6, f"{1e6 * best_s / len(ends):.1f} µs"
