"""Reads of the hourly roll-ups: totals that outlive the facts, at a hundredth of their size."""

from typing import Any

import duckdb

from storage.rollups import seconds_of
from storage.times import from_timestamp, to_timestamp


def hourly_counts(
    connection: duckdb.DuckDBPyConnection,
    from_us: int,
    to_us: int,
    *,
    route: str | None = None,
    role: str | None = "primary",
) -> list[dict[str, Any]]:
    """Sum up requests, tokens and cost by hour, route and variant.

    Parameters
    ----------
    from_us, to_us : int
        Hours that start in [from_us, to_us), microseconds since the epoch.

    Returns
    -------
    list of dict
        `hour_at`, `route`, `variant`, `n`, `with_reason`, `fallbacks`, `cache_hits`,
        `prompt_tokens`, `response_tokens`, `cost_usd`; unknown tokens count as 0.
    """
    rows = connection.execute(
        """
        SELECT hour, route, variant, sum(n)::BIGINT,
            coalesce(sum(n) FILTER (reason <> ''), 0)::BIGINT,
            coalesce(sum(n) FILTER (fallback), 0)::BIGINT,
            coalesce(sum(n) FILTER (cache = 'hit'), 0)::BIGINT,
            sum(prompt_tokens)::DOUBLE, sum(response_tokens)::DOUBLE, sum(cost_usd)
        FROM rollup_counts
        WHERE hour >= $1 AND hour < $2 AND ($3 IS NULL OR route = $3) AND ($4 IS NULL OR role = $4)
        GROUP BY hour, route, variant ORDER BY hour, route, variant
        """,
        [to_timestamp(from_us), to_timestamp(to_us), route, role],
    ).fetchall()
    names = (
        "route", "variant", "n", "with_reason", "fallbacks", "cache_hits",
        "prompt_tokens", "response_tokens", "cost_usd",
    )  # fmt: skip
    return [
        {"hour_at": from_timestamp(hour), **dict(zip(names, values, strict=True))}
        for hour, *values in rows
    ]


def duration_counts(
    connection: duckdb.DuckDBPyConnection,
    from_us: int,
    to_us: int,
    *,
    measure: str,
    route: str | None = None,
) -> dict[tuple[str, str], list[tuple[float, int]]]:
    """Return how often each duration was seen, by route and variant, of primary rows.

    Parameters
    ----------
    measure : str
        `latency`, `ttft` or `overhead`.

    Returns
    -------
    dict
        (route, variant) to (seconds within 1 %, n), by seconds: counts that merge, from which
        any percentile follows.
    """
    rows = connection.execute(
        """
        SELECT route, variant, bucket, sum(n)::BIGINT FROM rollup_latency
        WHERE hour >= $1 AND hour < $2 AND measure = $3 AND role = 'primary'
            AND ($4 IS NULL OR route = $4)
        GROUP BY route, variant, bucket ORDER BY route, variant, bucket
        """,
        [to_timestamp(from_us), to_timestamp(to_us), measure, route],
    ).fetchall()
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for name, variant, bucket, n in rows:
        found.setdefault((name, variant), []).append((seconds_of(bucket), n))
    return found
