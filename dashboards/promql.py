"""The shapes of queries that the boards are written in.

Every selector carries the board's variables; ratios are guarded, so that no traffic shows as a gap
and no error as zero; counters only appear inside `rate` over `$__rate_interval`.
"""

from monitors.metrics import Metric

INTERVAL = "$__rate_interval"
_VARIABLES = ('job=~"$job"', 'instance=~"$instance"')


def select(metric: Metric, *matchers: str, suffix: str = "") -> str:
    """Return a selector of a metric, by the board's variables and more matchers.

    Examples
    --------
    >>> from monitors.metrics import INGEST_LAG
    >>> select(INGEST_LAG)
    'driftgate_ingest_lag_bytes{job=~"$job", instance=~"$instance"}'
    """
    chosen = [*_VARIABLES]
    if "route" in metric.labels:
        chosen.append('route=~"$route"')
    return f"{metric.series_name}{suffix}{{{', '.join((*chosen, *matchers))}}}"


def total(expression: str, *by: str, operator: str = "sum") -> str:
    """Return an aggregation over everything but the labels `by`."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"{operator}{grouping} ({expression})"


def per_second(metric: Metric, *matchers: str, by: tuple[str, ...] = (), suffix: str = "") -> str:
    """Return the rate of a counter, summed over everything but the labels `by`."""
    return total(f"rate({select(metric, *matchers, suffix=suffix)}[{INTERVAL}])", *by)


def ratio(part: str, whole: str) -> str:
    """Return a guarded share: zero where there is a whole but no part, nothing without a whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def quantile(q: float, metric: Metric, *matchers: str, by: tuple[str, ...] = ()) -> str:
    """Return a quantile of a histogram, for each combination of the labels `by`."""
    inner = per_second(metric, *matchers, by=("le", *by), suffix="_bucket")
    return f"histogram_quantile({q:g}, {inner})"
