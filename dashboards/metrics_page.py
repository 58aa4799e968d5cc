"""The page of all metrics, written from their one list."""

from collections.abc import Iterator

from monitors.metrics import LABELS, METRICS, Metric

_HEAD = """\
# Metrics

Generated from `monitors/metrics.py` by `python -m dashboards.generate`; do not edit.

The control plane serves them at `/metrics`, as Prometheus text or OpenMetrics by `Accept`. They are
computed from the same records as the database while these are ingested, so the two cannot disagree
and no scrape touches a request. Counters start at zero with the control plane's process. Label
values come from the configuration or from closed lists; a metric has at most 2,000 series, what
comes after them counts under `other`.
"""


def metrics_page() -> str:
    """Return `docs/metrics.md`."""
    return "\n".join([_HEAD, *_metrics(), *_labels()]) + "\n"


def _metrics() -> Iterator[str]:
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.series_name}` | {metric.kind} | {labels} | {metric.help} |"
    yield from ("", "## Buckets", "", "Upper bounds in seconds; `+Inf` follows.", "")
    for metric in METRICS:
        if metric.kind == "histogram":
            yield f"- `{metric.series_name}`: {_bounds(metric)}"


def _bounds(metric: Metric) -> str:
    return ", ".join(f"{bound:g}" for bound in metric.buckets)


def _labels() -> Iterator[str]:
    yield from ("", "## Labels", "", "| label | values |", "|---|---|")
    for label, values in sorted(LABELS.items()):
        yield f"| `{label}` | {values} |"
