"""Prometheus metrics as a view of the record stream: what was ingested is what is counted.

Several workers merge by construction, a scrape touches no stream, and `/metrics` cannot disagree
with the database.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.aggregates import Aggregates
from gateway.config import Settings
from gateway.version import VERSION
from monitors import metrics as m
from router.errors import Reason
from storage.ingest import IngestStatistics
from storage.records import End, Prediction, Verdict, WorkerStats

_OTHER = "other"
_NONE = "none"
_REASONS = frozenset(reason.value for reason in Reason)
_STATES = {"ok": 0.0, "drift": 1.0, "not_enough_data": 2.0, "stale": 3.0}
_BREAKERS = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
_STATISTICS = ("ks", "wasserstein_sd", "js_distance")


class Telemetry:
    """Called from the ingest and monitor threads, rendered in another."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._aggregates = Aggregates()
        self._aggregates.set(m.BUILD, (VERSION,), 1.0)
        for metric in (
            m.SHADOWS_DROPPED,
            m.UNLOGGED,
            m.RETRIES_DENIED,
            m.INGESTED,
            m.INGEST_FAILURES,
        ):
            self._aggregates.add(metric, (), 0.0)
        self._worker_counters: dict[tuple[str, str, str], int] = {}
        self._ingested = (0, 0)
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(self._families))
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Take the label values of a configuration."""
        with self._lock:
            self._routes = frozenset(settings.routes)
            self._upstreams = frozenset(settings.upstreams)

    def observe(self, ends: Sequence[End]) -> None:
        """Count a batch of records."""
        with self._lock:
            for end in ends:
                self._observe_one(end)

    def _observe_one(self, end: End) -> None:
        p, add = end.prediction, self._aggregates.add
        route = p.route if p.route in self._routes else _OTHER
        labels = (route, self._upstream(p.variant), self._upstream(p.upstream))
        reason = p.reason if p.reason in _REASONS else _NONE
        add(m.REQUESTS, (*labels, p.role, _status_class(p.status), reason))
        for attempt in end.attempts:
            upstream = self._upstream(attempt.upstream)
            why = attempt.reason if attempt.reason in _REASONS else _NONE
            add(m.ATTEMPTS, (upstream, why))
            self._aggregates.observe(m.ATTEMPT_DURATION, (upstream,), attempt.latency_s)
        if p.role != "primary" or p.reason == Reason.INTERRUPTED:
            return
        self._observe_times(p, labels)
        add(m.CACHE, (route, p.cache))
        if p.fallback_from is not None:
            add(m.FALLBACKS, (route, self._upstream(p.fallback_from), labels[2]))
        self._observe_usage(p, labels)

    def _observe_times(self, p: Prediction, labels: tuple[str, str, str]) -> None:
        observe = self._aggregates.observe
        observe(m.REQUEST_DURATION, labels, p.latency_s)
        observe(m.OVERHEAD, labels[:1], p.overhead_s)
        if p.stream and p.ttft_s is not None:
            observe(m.FIRST_TOKEN, labels, p.ttft_s)
        if p.time_per_output_token_s is not None:
            observe(m.TOKEN_TIME, labels, p.time_per_output_token_s)

    def _observe_usage(self, p: Prediction, labels: tuple[str, str, str]) -> None:
        add = self._aggregates.add
        if p.cache == "hit":
            return  # nobody computed these tokens
        for direction, tokens in (("prompt", p.prompt_tokens), ("response", p.response_tokens)):
            if tokens is not None:
                add(m.TOKENS, (*labels, direction), tokens)
        if p.cost_usd is not None:
            add(m.COST, labels, p.cost_usd)

    def observe_stats(self, stats: Sequence[WorkerStats]) -> None:
        """Take the workers' once-a-second numbers."""
        with self._lock:
            for one in stats:
                self._observe_worker(one)

    def _observe_worker(self, one: WorkerStats) -> None:
        put, worker = self._aggregates.set, (one.worker,)
        put(m.IN_FLIGHT, worker, one.in_flight)
        put(m.CONNECTIONS, worker, one.open_connections)
        put(m.LOOP_LAG, worker, one.loop_lag_s)
        put(m.CACHE_BYTES, worker, one.cache_bytes)
        put(m.CACHE_ENTRIES, worker, one.cache_entries)
        for name, state in one.breakers.items():
            put(m.BREAKER, (one.worker, self._upstream(name)), _BREAKERS.get(state, 0.0))
        for name, (in_use, idle) in one.pools.items():
            put(m.POOL, (self._upstream(name), "in_use"), in_use)
            put(m.POOL, (self._upstream(name), "idle"), idle)
        self._count_up(m.SHADOWS_DROPPED, one.worker, (), one.shadows_dropped)
        self._count_up(m.UNLOGGED, one.worker, (), one.unlogged)
        self._count_up(m.RETRIES_DENIED, one.worker, (), one.retries_denied)
        for reason, count in one.refused.items():
            label = reason if reason in _REASONS else _OTHER
            self._count_up(m.REFUSED, one.worker, (label,), count)

    def _count_up(self, metric: m.Metric, worker: str, labels: tuple[str, ...], count: int) -> None:
        """Add what a worker's own counter grew by; a smaller value is a new process."""
        key = (worker, metric.name, "".join(labels))
        before = self._worker_counters.get(key, 0)
        self._worker_counters[key] = count
        self._aggregates.add(metric, labels, count - before if count >= before else count)

    def observe_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take the newest measurements of the monitors."""
        with self._lock:
            for verdict in verdicts:
                self._observe_verdict(verdict)

    def _observe_verdict(self, verdict: Verdict) -> None:
        put, where = self._aggregates.set, (verdict.route, verdict.feature)
        put(m.DRIFT_STATE, where, _STATES[verdict.verdict])
        put(m.DRIFT_SAMPLES, (*where, "reference"), verdict.n_reference)
        put(m.DRIFT_SAMPLES, (*where, "current"), verdict.n_current)
        put(m.DRIFT_LOOK_AT, (verdict.route,), verdict.at / 1_000_000)
        if verdict.value is not None:
            put(m.DRIFT_EFFECT, (*where, verdict.statistic), verdict.value)
        for name in _STATISTICS:
            found = verdict.details.get(name)
            if isinstance(found, float):
                put(m.DRIFT_EFFECT, (*where, name), found)

    def set_ingest(self, statistics: IngestStatistics, *, lag_bytes: int) -> None:
        """Take the ingester's totals."""
        with self._lock:
            records, failures = self._ingested
            self._aggregates.add(m.INGESTED, (), statistics.records - records)
            self._aggregates.add(m.INGEST_FAILURES, (), statistics.failures - failures)
            self._ingested = (statistics.records, statistics.failures)
            self._aggregates.set(m.INGEST_LAG, (), lag_bytes)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition in the format asked for, and its content type."""
        started_s = time.perf_counter()
        encoder, content_type = choose_encoder(accept)
        body = encoder(self._registry)
        with self._lock:
            self._aggregates.set(m.SCRAPE, (), time.perf_counter() - started_s)
        return body, content_type

    def _families(self) -> list[Family]:
        with self._lock:
            grown = self._aggregates.dropped
            self._aggregates.dropped = 0
            self._aggregates.add(m.SERIES_DROPPED, (), grown)
            return list(self._aggregates.families())

    def _upstream(self, name: str) -> str:
        if not name:
            return _NONE
        return name if name in self._upstreams else _OTHER


class _Collector(Collector):
    """Hands the aggregates to prometheus_client's encoders."""

    def __init__(self, families: Callable[[], list[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families()

    def describe(self) -> list[Family]:
        """Describe nothing: or registering would collect."""
        return []


def _status_class(status: int) -> str:
    return f"{status // 100}xx" if 100 <= status < 600 else _NONE
