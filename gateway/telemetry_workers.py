"""What workers report once a second: gauges of now, and counters that restart with them."""

from collections.abc import Iterator

from gateway.aggregates import Aggregates
from gateway.telemetry_names import Names, reason_label
from monitors import metrics as m
from storage.records import WorkerStats

SILENT_US = 30_000_000
"""A worker that has not reported for so long is gone, and with it what it reported."""

_BREAKERS = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
_GAUGES = (
    m.IN_FLIGHT,
    m.WAITING,
    m.CONNECTIONS,
    m.LOOP_LAG,
    m.LOOP_LAG_MEAN,
    m.CACHE_BYTES,
    m.CACHE_ENTRIES,
    m.BREAKER,
    m.POOL,
    m.UPSTREAM_WAITING,
    m.SPOOL_SHARE,
    m.SPOOL_FULL,
    m.SPOOL_RESERVE,
)
_COUNTERS = (
    m.SHADOWS_DROPPED,
    m.UNLOGGED,
    m.RETRIES_DENIED,
    m.PAYLOADS_DROPPED,
    m.LATE_SYNCS,
    m.FAILED_SYNCS,
)


class WorkerSeries:
    """The series that come from STATS records."""

    def __init__(self, aggregates: Aggregates) -> None:
        self._aggregates = aggregates
        self._seen_at: dict[str, int] = {}
        self._counted: dict[tuple[str, str, str], int] = {}
        for metric in _COUNTERS:
            aggregates.add(metric, (), 0.0)

    def observe(self, one: WorkerStats, names: Names) -> None:
        """Take one worker's numbers."""
        self._seen_at[one.worker] = one.at
        put, worker = self._aggregates.set, (one.worker,)
        put(m.IN_FLIGHT, worker, one.in_flight)
        put(m.WAITING, worker, one.waiting)
        put(m.CONNECTIONS, worker, one.open_connections)
        put(m.LOOP_LAG, worker, one.loop_lag_s)
        put(m.LOOP_LAG_MEAN, worker, one.loop_lag_mean_s)
        put(m.CACHE_BYTES, worker, one.cache_bytes)
        put(m.CACHE_ENTRIES, worker, one.cache_entries)
        put(m.SPOOL_BYTES, (), one.spool_bytes)  # Every worker sees the same directory.
        put(m.SPOOL_SHARE, worker, one.spool_share)
        put(m.SPOOL_FULL, worker, one.spool_full)
        put(m.SPOOL_RESERVE, worker, one.reserve_bytes)
        self._replace_upstreams(one, names)
        for metric, label, key, count in _counters(one):
            self._count_up(metric, label, (one.worker, metric.name, key), count)

    def _replace_upstreams(self, one: WorkerStats, names: Names) -> None:
        # An upstream that a reload removed is reported no more, so its series must go.
        for metric in (m.BREAKER, m.POOL, m.UPSTREAM_WAITING):
            self._aggregates.forget(metric, one.worker)
        put = self._aggregates.set
        for name, state in one.breakers.items():
            put(m.BREAKER, (one.worker, names.upstream(name)), _BREAKERS.get(state, 0.0))
        for name, (in_use, idle) in one.pools.items():
            put(m.POOL, (one.worker, names.upstream(name), "in_use"), in_use)
            put(m.POOL, (one.worker, names.upstream(name), "idle"), idle)
        for name, waiting in one.upstream_waiting.items():
            put(m.UPSTREAM_WAITING, (one.worker, names.upstream(name)), waiting)

    def _count_up(
        self, metric: m.Metric, labels: tuple[str, ...], key: tuple[str, str, str], count: int
    ) -> None:
        """Add what a worker's own counter grew by; a smaller value is a new process."""
        before = self._counted.get(key, 0)
        self._counted[key] = count
        self._aggregates.add(metric, labels, count - before if count >= before else count)

    def forget_silent(self, now_us: int) -> None:
        """Drop the gauges of workers that are gone; what they counted stays counted."""
        for worker in [w for w, at in self._seen_at.items() if now_us - at > SILENT_US]:
            del self._seen_at[worker]
            for metric in _GAUGES:
                self._aggregates.forget(metric, worker)


def _counters(one: WorkerStats) -> Iterator[tuple[m.Metric, tuple[str, ...], str, int]]:
    """Yield metric, label values, key and value of each counter of a worker."""
    yield m.SHADOWS_DROPPED, (), "", one.shadows_dropped
    yield m.UNLOGGED, (), "", one.unlogged
    yield m.RETRIES_DENIED, (), "", one.retries_denied
    yield m.PAYLOADS_DROPPED, (), "", one.payloads_dropped
    yield m.LATE_SYNCS, (), "", one.late_syncs
    yield m.FAILED_SYNCS, (), "", one.failed_syncs
    for reason, count in one.refused.items():
        yield m.REFUSED, (reason_label(reason),), reason, count
