"""Prometheus metrics as a view of the record stream: what was ingested is what is counted.

Several workers merge by construction, a scrape touches no stream, and `/metrics` cannot disagree
with the database.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.aggregates import OTHER, Aggregates
from gateway.config import Settings
from gateway.delivery import DeliveryStatistics
from gateway.embedding_work import EmbeddingStatistics
from gateway.telemetry_breaches import BreachSeries
from gateway.telemetry_drift import DriftSeries
from gateway.telemetry_names import NONE, Names, reason_label, status_class
from gateway.telemetry_workers import WorkerSeries
from gateway.version import VERSION
from monitors import metrics as m
from monitors.embeddings.together import worst_of_each
from router.clock import Clock, SystemClock
from router.errors import Reason
from storage.ingest import IngestStatistics
from storage.records import End, Prediction, Verdict, WorkerStats
from storage.writer import Loss

LOSS_KINDS = (
    "torn",
    "damaged",
    "unreadable",
    "undecodable",
    "trimmed",
    "rejected",
    "unfit_features",
)
"""What can be wrong with a place of the spool, or a record of it; label values."""


class TelemetryStatistics(NamedTuple):
    """What the metrics themselves hold."""

    series: int
    """Series over all metrics; a histogram's buckets are one."""

    dropped: int
    """Observations whose own series a full metric refused."""


class Telemetry:
    """Called from the ingest and monitor threads, rendered in another.

    Parameters
    ----------
    settings : Settings
        Gives routes and upstreams their label values.
    clock : Clock, optional
        Tells which workers have gone silent.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._aggregates = Aggregates()
        self._aggregates.set(m.BUILD, (VERSION,), 1.0)
        self._workers = WorkerSeries(self._aggregates)
        self._drift = DriftSeries(self._aggregates)
        self._breaches = BreachSeries(self._aggregates)
        self._ingested = IngestStatistics(0, 0, 0, 0)
        self._delivered = DeliveryStatistics()
        self.set_ingest(self._ingested)
        self.set_lag(lag_bytes=0, lag_s=0.0)
        self.set_deliveries(self._delivered)
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(self._families))
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Take the label values of a configuration; what was counted stays."""
        with self._lock:
            self._names = Names(settings)
            self._drift.reconfigure(settings.monitors, self._names)
            self._breaches.reconfigure(self._names)
            self._begin_at_zero(settings)

    def _begin_at_zero(self, settings: Settings) -> None:
        """Show the usual counters before their first event: `rate` misses a series' birth."""
        add = self._aggregates.add
        for kind in LOSS_KINDS:
            add(m.SPOOL_LOSSES, (kind,), 0.0)
        for name in settings.upstreams:
            add(m.ATTEMPTS, (name, NONE), 0.0)
        for route in settings.routes.values():
            for outcome in ("hit", "miss") if route.cache else ("bypass",):
                add(m.CACHE, (route.name, outcome), 0.0)
            if route.name in settings.monitors.embeddings:
                for state in ("embedded", "failed"):
                    add(m.EMBEDDINGS, (route.name, state), 0.0)
            for variant in route.split:
                add(m.REQUESTS, (route.name, variant, variant, "primary", "2xx", NONE), 0.0)
                for other in route.fallback:
                    add(m.FALLBACKS, (route.name, variant, other), 0.0)

    def observe(self, ends: Sequence[End]) -> None:
        """Count a batch of records."""
        with self._lock:
            for end in ends:
                self._observe_one(end)

    def _observe_one(self, end: End) -> None:
        p, add, names = end.prediction, self._aggregates.add, self._names
        labels = (names.route(p.route), names.upstream(p.variant), names.upstream(p.upstream))
        add(m.REQUESTS, (*labels, p.role, status_class(p.status), reason_label(p.reason)))
        for attempt in end.attempts:
            upstream = names.upstream(attempt.upstream)
            add(m.ATTEMPTS, (upstream, reason_label(attempt.reason)))
            self._aggregates.observe(m.ATTEMPT_DURATION, (upstream,), attempt.latency_s)
        if p.role != "primary" or p.reason == Reason.INTERRUPTED:
            return
        self._observe_times(p, labels)
        add(m.CACHE, (labels[0], p.cache))
        if p.fallback_from is not None:
            add(m.FALLBACKS, (labels[0], names.upstream(p.fallback_from), labels[2]))
        if p.cache != "hit":  # nobody computed those tokens
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
        for direction, tokens in (("prompt", p.prompt_tokens), ("response", p.response_tokens)):
            if tokens is not None:
                add(m.TOKENS, (*labels, direction), tokens)
        if p.cost_usd is not None:
            add(m.COST, labels, p.cost_usd)

    def observe_stats(self, stats: Sequence[WorkerStats]) -> None:
        """Take the workers' once-a-second numbers."""
        with self._lock:
            for one in stats:
                self._workers.observe(one, self._names)

    def observe_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take the newest measurements of the monitors."""
        with self._lock:
            for verdict in worst_of_each(verdicts):
                self._drift.observe(verdict, self._names)
            self._drift.count_open()

    def observe_breaches(self, verdicts: Sequence[Verdict]) -> None:
        """Take the newest verdicts of the monitors of levels."""
        with self._lock:
            self._breaches.observe(verdicts, self._names)

    def set_ingest(self, statistics: IngestStatistics) -> None:
        """Take the ingester's totals, which only grow."""
        with self._lock:
            add, before = self._aggregates.add, self._ingested
            add(m.INGESTED, (), statistics.records - before.records)
            add(m.INGEST_FAILURES, (), statistics.failures - before.failures)
            self._ingested = statistics

    def set_lag(self, *, lag_bytes: int, lag_s: float) -> None:
        """Take how far the ingest is behind: at the scrape, for a thread that hangs tells none."""
        with self._lock:
            self._aggregates.set(m.INGEST_LAG, (), lag_bytes)
            self._aggregates.set(m.INGEST_LAG_S, (), lag_s)

    def observe_losses(self, losses: Sequence[Loss]) -> None:
        """Count places of the spool that could not be read."""
        with self._lock:
            for loss in losses:
                kind = loss.kind if loss.kind in LOSS_KINDS else OTHER
                self._aggregates.add(m.SPOOL_LOSSES, (kind,))

    def set_archives(self, *, text_lag_s: float, facts_lag_s: float) -> None:
        """Take how far the Parquet files are behind the database."""
        with self._lock:
            self._aggregates.set(m.TEXT_LAG_S, (), text_lag_s)
            self._aggregates.set(m.ARCHIVE_LAG_S, (), facts_lag_s)

    def set_deliveries(self, statistics: DeliveryStatistics) -> None:
        """Take the delivery loop's totals, which only grow."""
        with self._lock:
            add, before = self._aggregates.add, self._delivered
            add(m.DELIVERIES, ("delivered",), statistics.delivered - before.delivered)
            add(m.DELIVERIES, ("failed",), statistics.failed - before.failed)
            add(m.DELIVERIES, ("dead",), statistics.dead - before.dead)
            add(m.DELIVERIES, ("withheld",), statistics.withheld - before.withheld)
            self._aggregates.set(m.DELIVERIES_WAITING, (), statistics.waiting)
            self._delivered = statistics

    def observe_embeddings(self, route: str, told: EmbeddingStatistics) -> None:
        """Count predictions whose texts were drawn for their embeddings."""
        with self._lock:
            name = self._names.route(route)
            self._aggregates.add(m.EMBEDDINGS, (name, "embedded"), told.embedded)
            self._aggregates.add(m.EMBEDDINGS, (name, "failed"), told.failed)

    def statistics(self) -> TelemetryStatistics:
        """Return the size of what is held."""
        with self._lock:
            return TelemetryStatistics(self._aggregates.series, self._aggregates.dropped)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition in the format asked for, and its content type.

        Thousands of lines take tens of milliseconds of CPU: call it in a thread.
        """
        started_s = time.perf_counter()
        encoder, content_type = choose_encoder(accept)
        body = encoder(self._registry)
        with self._lock:
            self._aggregates.set(m.SCRAPE, (), time.perf_counter() - started_s)
        return body, content_type

    def _families(self) -> list[Family]:
        with self._lock:
            self._workers.forget_silent(self._clock.now_us())
            return list(self._aggregates.families())


class _Collector(Collector):
    """Hands the aggregates to prometheus_client's encoders."""

    def __init__(self, families: Callable[[], list[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families()

    def describe(self) -> list[Family]:
        """Describe nothing: or registering would collect."""
        return []
