"""The traffic part of a report: rows of `storage.reader` as what people read."""

from collections.abc import Mapping, Sequence
from typing import Any

from monitors.report.model import (
    Percentiles,
    ReasonCount,
    RouteTotal,
    SpoolLoss,
    Traffic,
    Upstream,
)
from stats.confidence import wilson

Row = Mapping[str, Any]
Key = tuple[str, str, str]
_EMPTY = Percentiles(0, None, None, None)


def traffic_of(
    counts: Sequence[Row], percentiles: Sequence[Row], reasons: Sequence[Row]
) -> tuple[Traffic, ...]:
    """Join counts, percentiles and reasons by route, variant and role."""
    timed = {_key(row): row for row in percentiles}
    words: dict[Key, list[ReasonCount]] = {}
    for row in reasons:
        said = ReasonCount(row["reason"], row["status"], row["n"])
        words.setdefault(_key(row), []).append(said)
    return tuple(
        _traffic(row, timed.get(_key(row)), words.get(_key(row), ()))
        for row in sorted(counts, key=_key)
    )


def _traffic(row: Row, timed: Row | None, reasons: Sequence[ReasonCount]) -> Traffic:
    low_high = wilson(row["failed"], row["n"])
    asked = row["cache_hits"] + row["cache_misses"]
    return Traffic(
        route=row["route"],
        variant=row["variant"],
        role=row["role"],
        n=row["n"],
        errors=row["failed"],
        error_share=row["failed"] / row["n"],
        error_low=low_high.low,
        error_high=low_high.high,
        refused=row["refused"],
        # DuckDB counts NULL where the column is NULL in every row.
        client_closed=row["client_closed"],
        interrupted=row["interrupted"],
        fallbacks=row["fallbacks"],
        streams=row["streams"],
        truncated=row["truncated"],
        attempts=row["attempts"],
        cache_hits=row["cache_hits"],
        cache_misses=row["cache_misses"],
        cache_hit_share=row["cache_hits"] / asked if asked else None,
        prompt_tokens=row["prompt_tokens"],
        response_tokens=row["response_tokens"],
        cached_tokens=row["cached_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        tokens_known=row["tokens_known"],
        cost_usd=row["cost_usd"],
        cost_known=row["cost_known"],
        latency_s=_percentiles(timed, "latency_s", "n"),
        ttft_s=_percentiles(timed, "ttft_s", "ttft_n"),
        overhead_s=_percentiles(timed, "overhead_s", "n"),
        reasons=tuple(reasons),
        first_at=row["first_at"],
        last_at=row["last_at"],
    )


def totals_of(traffic: Sequence[Traffic], latency: Sequence[Row]) -> tuple[RouteTotal, ...]:
    """Add up the primaries of each route.

    Parameters
    ----------
    latency : sequence of dict
        `route`, `latency_s_p50` and `latency_s_p95` over all variants: percentiles of variants
        cannot be added up.
    """
    timed = {row["route"]: row for row in latency}
    groups: dict[str, list[Traffic]] = {}
    for row in traffic:
        if row.role == "primary":
            groups.setdefault(row.route, []).append(row)
    return tuple(_total(route, rows, timed.get(route, {})) for route, rows in groups.items())


def _total(route: str, rows: Sequence[Traffic], timed: Row) -> RouteTotal:
    n, errors = sum(row.n for row in rows), sum(row.errors for row in rows)
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    low_high = wilson(errors, n)
    return RouteTotal(
        route=route,
        n=n,
        errors=errors,
        error_share=errors / n,
        error_low=low_high.low,
        error_high=low_high.high,
        cost_usd=sum(costs) if costs else None,
        latency_p50_s=timed.get("latency_s_p50"),
        latency_p95_s=timed.get("latency_s_p95"),
    )


def upstreams_of(rows: Sequence[Row]) -> tuple[Upstream, ...]:
    """Return the tries at each upstream."""
    return tuple(
        Upstream(
            upstream=row["upstream"],
            role=row["role"],
            n=row["n"],
            failed=row["failed"],
            failed_share=row["failed"] / row["n"],
            retries=row["retries"],
            latency_p50_s=row["latency_s_p50"],
            latency_p95_s=row["latency_s_p95"],
        )
        for row in rows
    )


def losses_of(rows: Sequence[Row]) -> tuple[SpoolLoss, ...]:
    """Return what recovery found lost."""
    return tuple(SpoolLoss(row["kind"], row["n"], row["frames"], row["bytes"]) for row in rows)


def _percentiles(row: Row | None, measure: str, counted: str) -> Percentiles:
    if row is None or not row[counted]:
        return _EMPTY
    return Percentiles(row[counted], *(row[f"{measure}_p{part}"] for part in (50, 95, 99)))


def _key(row: Row) -> Key:
    return row["route"], row["variant"], row["role"]
