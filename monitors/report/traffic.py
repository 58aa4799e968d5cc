"""The traffic part of a report: counts of the prediction log as what people read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monitors.report.model import ReasonCount, RouteTotal, SpoolLoss, Traffic, Upstream
from monitors.report.numbers_of import Times
from stats.confidence import wilson
from storage.log import AttemptCounts, CountRow

NANO = 1e-9
_INTERRUPTED = "interrupted"
_CLIENT_CLOSED = "client_closed"
_NO_ERROR = ("", _CLIENT_CLOSED)


def traffic_of(counts: Sequence[CountRow], times: Times) -> tuple[Traffic, ...]:
    """Add counts up by route, variant and role."""
    groups: dict[tuple[str, str, str], list[CountRow]] = {}
    for row in counts:
        groups.setdefault((row.route, row.variant, row.role), []).append(row)
    return tuple(_traffic(key, groups[key], times) for key in sorted(groups))


def _traffic(key: tuple[str, str, str], rows: Sequence[CountRow], times: Times) -> Traffic:
    n, errors = _n(rows), _n(row for row in rows if _failed(row))
    hits, misses = (_n(row for row in rows if row.cache == word) for word in ("hit", "miss"))
    low_high = wilson(errors, n)
    return Traffic(
        route=key[0],
        variant=key[1],
        role=key[2],
        n=n,
        errors=errors,
        error_share=errors / n,
        error_low=low_high.low,
        error_high=low_high.high,
        refused=_n(row for row in rows if _refused(row)),
        client_closed=_n(row for row in rows if row.reason == _CLIENT_CLOSED),
        interrupted=_n(row for row in rows if row.reason == _INTERRUPTED),
        fallbacks=_n(row for row in rows if row.fallback),
        streams=_n(row for row in rows if row.stream),
        truncated=sum(row.truncated for row in rows),
        attempts=sum(row.attempts for row in rows),
        cache_hits=hits,
        cache_misses=misses,
        cache_hit_share=hits / (hits + misses) if hits + misses else None,
        prompt_tokens=_known(rows, "prompt_tokens", "prompt_known"),
        response_tokens=_known(rows, "response_tokens", "response_known"),
        cached_tokens=_known(rows, "cached_tokens", "cached_known"),
        reasoning_tokens=_known(rows, "reasoning_tokens", "reasoning_known"),
        tokens_known=sum(row.response_known for row in rows),
        cost_usd=_cost(rows),
        cost_known=sum(row.cost_known for row in rows),
        latency_s=times.of(key, "latency_s"),
        ttft_s=times.of(key, "ttft_s"),
        overhead_s=times.of(key, "overhead_s"),
        reasons=_reasons(rows),
        first_at=min(row.first_at for row in rows),
        last_at=max(row.last_at for row in rows),
    )


def totals_of(traffic: Sequence[Traffic], times: Times) -> tuple[RouteTotal, ...]:
    """Add up the primaries of each route; percentiles are of all their rows."""
    groups: dict[str, list[Traffic]] = {}
    for row in traffic:
        if row.role == "primary":
            groups.setdefault(row.route, []).append(row)
    return tuple(_total(route, rows, times) for route, rows in groups.items())


def _total(route: str, rows: Sequence[Traffic], times: Times) -> RouteTotal:
    n, errors = sum(row.n for row in rows), sum(row.errors for row in rows)
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    low_high = wilson(errors, n)
    latency = times.of((route, None, "primary"), "latency_s")
    return RouteTotal(
        route=route,
        n=n,
        errors=errors,
        error_share=errors / n,
        error_low=low_high.low,
        error_high=low_high.high,
        cost_usd=sum(costs) if costs else None,
        latency_p50_s=latency.p50,
        latency_p95_s=latency.p95,
    )


def upstreams_of(attempts: Sequence[AttemptCounts], times: Times) -> tuple[Upstream, ...]:
    """Add up the tries at each upstream over all routes."""
    groups: dict[tuple[str, str], list[AttemptCounts]] = {}
    for row in attempts:
        groups.setdefault((row.upstream, row.role), []).append(row)
    return tuple(_upstream(key, groups[key], times) for key in sorted(groups))


def _upstream(key: tuple[str, str], rows: Sequence[AttemptCounts], times: Times) -> Upstream:
    n, failed = sum(row.n for row in rows), sum(row.failed for row in rows)
    latency = times.upstreams.get(key)
    return Upstream(
        upstream=key[0],
        role=key[1],
        n=n,
        failed=failed,
        failed_share=failed / n,
        retries=sum(row.retries for row in rows),
        latency_p50_s=None if latency is None else latency.p50,
        latency_p95_s=None if latency is None else latency.p95,
    )


def losses_of(rows: Sequence[Mapping[str, Any]]) -> tuple[SpoolLoss, ...]:
    """Return what recovery found lost."""
    return tuple(SpoolLoss(row["kind"], row["n"], row["frames"], row["bytes"]) for row in rows)


def _n(rows: Iterable[CountRow]) -> int:
    return sum(row.n for row in rows)


def _refused(row: CountRow) -> bool:
    return 400 <= row.status < 500


def _failed(row: CountRow) -> bool:
    """Say whether it went wrong on our side of the client."""
    return row.reason not in _NO_ERROR and not _refused(row)


def _known(rows: Sequence[CountRow], name: str, known: str) -> float | None:
    total = sum(getattr(row, name) for row in rows)
    # Hours that were counted before step 4 do not say how many rows knew it.
    return float(total) if total or any(getattr(row, known) for row in rows) else None


def _cost(rows: Sequence[CountRow]) -> float | None:
    total = sum(row.cost_nano_usd for row in rows)
    return total * NANO if total or any(row.cost_known for row in rows) else None


def _reasons(rows: Sequence[CountRow]) -> tuple[ReasonCount, ...]:
    counts: dict[tuple[str, int], int] = {}
    for row in rows:
        if row.reason:
            key = row.reason, row.status
            counts[key] = counts.get(key, 0) + row.n
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return tuple(ReasonCount(*key, counts[key]) for key in ordered)
