"""Counts and histograms by label values: plain dictionaries, a bounded number of series each.

`prometheus_client`'s own objects cost ten times as much an observation and lock each one; here the
ingest thread adds a whole batch under one lock and a scrape copies what it renders.
"""

from bisect import bisect_left
from collections.abc import Iterator
from math import inf

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

from monitors.metrics import METRICS, SERIES_DROPPED, Metric

MAX_SERIES = 2_000
"""Of one metric; configurations with more routes × variants than that lose detail, not counts."""

OTHER = "other"
"""Label value of what has no series of its own."""

Labels = tuple[str, ...]


class Aggregates:
    """The values of every declared metric."""

    def __init__(
        self, metrics: tuple[Metric, ...] = METRICS, *, max_series: int = MAX_SERIES
    ) -> None:
        self._values: dict[str, dict[Labels, float]] = {m.name: {} for m in metrics}
        self._buckets: dict[str, dict[Labels, list[float]]] = {
            m.name: {} for m in metrics if m.kind == "histogram"
        }
        self._metrics = metrics
        self._max_series = max_series
        self.dropped = 0

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1.0) -> None:
        """Count; what is no amount (negative, not a number) is left out."""
        series = self._values[metric.name]
        if labels not in series:
            labels = self._admitted(labels, len(series))
            series.setdefault(labels, 0.0)
        if 0.0 < amount < inf:
            series[labels] += amount

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """Take a gauge's value; beyond the cap there is no value that would be right."""
        series = self._values[metric.name]
        if labels in series or len(series) < self._max_series:
            series[labels] = value
        else:
            self.dropped += 1

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Add an observation to a histogram; the last element is the sum."""
        if not 0.0 <= value < inf:
            return
        series = self._buckets[metric.name]
        counts = series.get(labels)
        if counts is None:
            labels = self._admitted(labels, len(series))
            counts = series.setdefault(labels, [0.0] * (len(metric.buckets) + 2))
        counts[bisect_left(metric.buckets, value)] += 1
        counts[-1] += value

    def forget(self, metric: Metric, *first: str) -> None:
        """Drop the series of a gauge whose first labels have these values."""
        series = self._values[metric.name]
        for labels in [labels for labels in series if labels[: len(first)] == first]:
            del series[labels]

    def _admitted(self, labels: Labels, series: int) -> Labels:
        """Return the labels of a new series: its own while there is room."""
        if series < self._max_series:
            return labels
        self.dropped += 1
        return (OTHER,) * len(labels)

    @property
    def series(self) -> int:
        """Return the number of series, a histogram's buckets counted as one."""
        counted = sum(len(table) for table in self._values.values())
        return counted + sum(len(table) for table in self._buckets.values())

    def families(self) -> Iterator[Family]:
        """Yield the exposition's families."""
        self._values[SERIES_DROPPED.name][()] = float(self.dropped)
        for metric in self._metrics:
            if metric.kind == "histogram":
                yield self._histogram(metric)
                continue
            cls = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = cls(metric.full_name, metric.help, labels=metric.labels)
            for labels, value in self._values[metric.name].items():
                family.add_metric(labels, value)
            yield family

    def _histogram(self, metric: Metric) -> Family:
        family = HistogramMetricFamily(metric.full_name, metric.help, labels=metric.labels)
        bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
        for labels, counts in self._buckets[metric.name].items():
            total, buckets = 0.0, []
            for bound, count in zip(bounds, counts[:-1], strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(labels, buckets, sum_value=counts[-1])
        return family
