"""The report: what happened in an interval, with the numbers behind every word.

Version 1. Fields are only added; anything else raises the version. Times are microseconds since
the epoch, UTC, durations seconds, shares 0..1; None is unknown, 0 is zero.
"""

from typing import Literal

import msgspec

from monitors.report.parts import (
    BaselineInForce,
    Bin,
    Check,
    Difference,
    Interval,
    Rollout,
    Severity,
    Timeline,
    Verdict,
)
from monitors.report.performance_model import Performance

REPORT_VERSION = 1


class ReasonCount(msgspec.Struct, frozen=True):
    """Requests that ended with one closed word of `reason` and one HTTP status."""

    reason: str
    status: int
    n: int


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of `n` requests, in seconds; None when `n` is 0."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None


class Traffic(msgspec.Struct, frozen=True):
    """One variant of one route, primaries or shadows.

    Attributes
    ----------
    n : int
        Requests.
    errors : int
        Requests that failed on our side of the client: neither its 4xx nor its leaving.
    refused, client_closed, interrupted : int
        Answered 4xx; left by the client; cut off by the death of a process (also in `errors`).
    error_share, error_low, error_high : float
        `errors / n` and its 95 % interval (Wilson).
    cache_hit_share : float or None
        Of the requests that asked the cache; None when none did.
    prompt_tokens, response_tokens, cached_tokens, reasoning_tokens, cost_usd : float or None
        Sums over the rows that know them.
    tokens_known, cost_known : int
        Rows whose response tokens, whose cost is known.
    latency_s, ttft_s, overhead_s : Percentiles
        Interrupted requests are left out.
    """

    route: str
    variant: str
    role: str
    n: int
    errors: int
    error_share: float
    error_low: float
    error_high: float
    refused: int
    client_closed: int
    interrupted: int
    fallbacks: int
    streams: int
    truncated: int
    attempts: int
    cache_hits: int
    cache_misses: int
    cache_hit_share: float | None
    prompt_tokens: float | None
    response_tokens: float | None
    cached_tokens: float | None
    reasoning_tokens: float | None
    tokens_known: int
    cost_usd: float | None
    cost_known: int
    latency_s: Percentiles
    ttft_s: Percentiles
    overhead_s: Percentiles
    reasons: tuple[ReasonCount, ...]
    first_at: int
    last_at: int


class RouteTotal(msgspec.Struct, frozen=True):
    """All variants of one route together, shadows left out."""

    route: str
    n: int
    errors: int
    error_share: float
    error_low: float
    error_high: float
    cost_usd: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None


class Upstream(msgspec.Struct, frozen=True):
    """Tries at one upstream: those that failed, and those that were not the first one."""

    upstream: str
    role: str
    n: int
    failed: int
    failed_share: float
    retries: int
    latency_p50_s: float | None
    latency_p95_s: float | None


class Finding(msgspec.Struct, frozen=True):
    """One feature of one route against the route's latest baseline.

    Attributes
    ----------
    statistic, value, low, high : str, float or None, float or None, float or None
        Effect with its 95 % interval; None when there is not enough data.
    threshold : float or None
        What the evidence statistic exceeds by chance no more often than the budget allows.
    n_reference, n_current : int
        Rows compared, missing ones included.
    missing_share : float or None
        Of the rows of the interval; None without rows.
    baseline : str
        `name@version`.
    measurements : dict
        Every number computed, by name.
    segment : str
        Rows that were looked at, `key=value`; empty is all rows of the route. Findings of segments
        are the last verdicts of the running monitor, those of all rows are made for the report.
    window : Interval or None
        Rows that were looked at, where that is not the report's interval.
    onset_at : int or None
        When the change began, as the running monitor estimates it.
    p_adjusted : float or None
        Holm's over the features of the route: `drift` needs 0.01 at most.
    histogram : tuple of Bin
        Rows over the cells that were compared; only where details were asked for.
    """

    route: str
    feature: str
    kind: Literal["numeric", "categorical"]
    verdict: Verdict
    severity: Severity
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    n_reference: int
    n_current: int
    missing_share: float | None
    baseline: str
    cause: str
    measurements: dict[str, float]
    segment: str = ""
    window: Interval | None = None
    onset_at: int | None = None
    p_adjusted: float | None = None
    histogram: tuple[Bin, ...] = ()


class ReportedAlert(msgspec.Struct, frozen=True):
    """An episode that was open at some time of the interval."""

    id: str
    kind: str
    route: str
    subject: str
    state: Literal["open", "resolved"]
    severity: Literal["warning", "critical"]
    opened_at: int
    resolved_at: int | None
    summary: str
    onset_at: int | None = None


class SpoolLoss(msgspec.Struct, frozen=True):
    """What was found lost in the interval: times it happened, frames known lost, bytes."""

    kind: str
    n: int
    frames: int
    bytes: int


class MissingShare(msgspec.Struct, frozen=True):
    """Rows of a route that do not know a feature; only features that miss some are listed."""

    route: str
    feature: str
    n: int
    missing: int
    share: float


class DataQuality(msgspec.Struct, frozen=True):
    """How far the numbers of this report can be trusted.

    Attributes
    ----------
    interrupted : int
        Requests whose process died: their status and durations are unknown.
    tokens_unknown, cost_unknown : int
        Primary requests without response tokens, without a cost.
    spool_lag_bytes : int or None
        Bytes of the spool that were not in the database yet; None when a server takes them in.
    """

    interrupted: int
    tokens_unknown: int
    cost_unknown: int
    spool_losses: tuple[SpoolLoss, ...]
    missing: tuple[MissingShare, ...]
    spool_lag_bytes: int | None = None


class Report(msgspec.Struct, frozen=True):
    """Everything that is known of an interval.

    Attributes
    ----------
    generated_at : int
        Microseconds since the epoch.
    route, model : str or None
        What the report was narrowed to; None is everything.
    routes : tuple of RouteTotal
    traffic : tuple of Traffic
        Variants side by side: ordered by route, variant and role.
    notes : tuple of str
        What the reader must know of the numbers, sentences.
    exact : bool
        Percentiles were computed from rows, and PSI over the baseline's own cells. Counts and
        sums are exact either way; the distances of Kolmogorov-Smirnov and Wasserstein that come
        from counts have bounds in the finding's `measurements`: `ks_most`,
        `wasserstein_sd_least`, `wasserstein_sd_most`.
    relative_error : float
        The most by which a percentile is off, as a share of itself.
    slos, quality, spend, performance_checks : tuple of Check
        Last verdicts of the interval.
    differences : tuple of Difference
        Of every variant from the largest of its route.
    timeline : Timeline or None
        Only where details were asked for.
    performance : tuple of Performance
        Routes with feedback, or with confidence that earlier labels calibrate.
    """

    version: int
    generated_at: int
    interval: Interval
    route: str | None
    model: str | None
    requests: int
    routes: tuple[RouteTotal, ...]
    traffic: tuple[Traffic, ...]
    upstreams: tuple[Upstream, ...]
    drift: tuple[Finding, ...]
    alerts: tuple[ReportedAlert, ...]
    data_quality: DataQuality
    notes: tuple[str, ...]
    exact: bool = True
    relative_error: float = 0.0
    slos: tuple[Check, ...] = ()
    quality: tuple[Check, ...] = ()
    spend: tuple[Check, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    differences: tuple[Difference, ...] = ()
    baselines: tuple[BaselineInForce, ...] = ()
    timeline: Timeline | None = None
    performance: tuple[Performance, ...] = ()
    performance_checks: tuple[Check, ...] = ()
