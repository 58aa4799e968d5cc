"""The overview: traffic, latency, money, upstreams, drift and the gateway's own health."""

from dashboards.boards.inside import INSIDE
from dashboards.boards.watching import DRIFT
from dashboards.promql import per_second, quantile, ratio, select, total
from dashboards.spec import Board, Panel, Query, Row
from monitors import metrics as m

_PRIMARY = 'role="primary"'
_ANSWERED = per_second(m.REQUESTS, _PRIMARY)
_FAILED = per_second(m.REQUESTS, _PRIMARY, 'status="5xx"')
_VARIANT = ("route", "variant")
_VARIANT_LEGEND = "{{route}} {{variant}}"


def _tile(
    title: str, meaning: str, unit: str, expr: str, *, steps: tuple[tuple[float, str], ...] = ()
) -> Panel:
    """Return one of the eight small numbers of the first row."""
    return Panel(
        "stat", title, meaning, unit, (Query(expr, title),), width=3, height=4, steps=steps
    )


GLANCE = Row(
    "At a glance",
    (
        _tile(
            "Requests",
            "Answered requests a second. Shadows and refused requests are not counted.",
            "reqps",
            _ANSWERED,
        ),
        _tile(
            "Server errors",
            "Share of requests answered 5xx; client errors are not failures.",
            "percentunit",
            ratio(_FAILED, _ANSWERED),
            steps=((0.001, "orange"), (0.01, "red")),
        ),
        _tile(
            "On fallback",
            "Share of requests that another upstream than the one chosen answered.",
            "percentunit",
            ratio(per_second(m.FALLBACKS), _ANSWERED),
            steps=((0.01, "orange"), (0.1, "red")),
        ),
        _tile(
            "Latency p95",
            "95 % of requests took no longer, over all routes and variants: look at these below "
            "before acting on it.",
            "s",
            quantile(0.95, m.REQUEST_DURATION),
        ),
        _tile(
            "First token p95",
            "95 % of streamed answers began no later. Plain answers are not counted.",
            "s",
            quantile(0.95, m.FIRST_TOKEN),
        ),
        _tile(
            "Overhead p99",
            "99 % of requests spent no longer in the gateway itself, waits for upstreams excluded.",
            "s",
            quantile(0.99, m.OVERHEAD),
        ),
        _tile(
            "Cost an hour",
            "Price of the tokens at the present rate. Upstreams without prices are not counted.",
            "currencyUSD",
            f"3600 * {per_second(m.COST)}",
        ),
        _tile(
            "Open drift alerts",
            "Features whose drift episode is open, of the routes chosen.",
            "short",
            total(select(m.ALERTS_OPEN)),
            steps=((1, "red"),),
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "timeseries",
            "Requests by route and variant",
            "Answered requests a second, by the variant that the split chose.",
            "reqps",
            (Query(per_second(m.REQUESTS, _PRIMARY, by=_VARIANT), _VARIANT_LEGEND),),
        ),
        Panel(
            "timeseries",
            "Requests that went wrong",
            "Requests a second with a reason other than `none`, clients that left included; the "
            "words are those of the error's `code`.",
            "reqps",
            (
                Query(
                    per_second(m.REQUESTS, _PRIMARY, 'reason!="none"', by=("route", "reason")),
                    "{{route}} {{reason}}",
                ),
            ),
        ),
        Panel(
            "timeseries",
            "Fallbacks",
            "Answers a second that another upstream than the one chosen gave.",
            "reqps",
            (
                Query(
                    per_second(m.FALLBACKS, by=("route", "chosen", "answered")),
                    "{{route}}: {{chosen}} → {{answered}}",
                ),
            ),
        ),
    ),
)

LATENCY = Row(
    "Latency",
    (
        Panel(
            "timeseries",
            "Latency p95 by variant",
            "From the request's head to the last byte of its answer; never averaged over variants.",
            "s",
            (Query(quantile(0.95, m.REQUEST_DURATION, by=_VARIANT), _VARIANT_LEGEND),),
            width=6,
        ),
        Panel(
            "timeseries",
            "First token p95 by variant",
            "From the request's head to the first content of a streamed answer.",
            "s",
            (Query(quantile(0.95, m.FIRST_TOKEN, by=_VARIANT), _VARIANT_LEGEND),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Time per token p95 by variant",
            "Between tokens of streamed answers, after the first.",
            "s",
            (Query(quantile(0.95, m.TOKEN_TIME, by=_VARIANT), _VARIANT_LEGEND),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Gateway overhead",
            "Time of a request that is not a wait for an upstream, over all routes.",
            "s",
            (
                Query(quantile(0.5, m.OVERHEAD), "p50"),
                Query(quantile(0.99, m.OVERHEAD), "p99"),
            ),
            width=6,
        ),
    ),
)

MONEY = Row(
    "Tokens, cost and cache",
    (
        Panel(
            "timeseries",
            "Tokens",
            "Tokens a second, as upstreams counted them; answers from the cache are not counted.",
            "short",
            (Query(per_second(m.TOKENS, by=("route", "direction")), "{{route}} {{direction}}"),),
        ),
        Panel(
            "timeseries",
            "Cost an hour by variant",
            "Price of the tokens at the rate of each moment, where prices are configured.",
            "currencyUSD",
            (Query(f"3600 * {per_second(m.COST, by=_VARIANT)}", _VARIANT_LEGEND),),
        ),
        Panel(
            "timeseries",
            "Cache hits",
            "Share of cacheable requests that the cache answered; bypassed ones are left out.",
            "percentunit",
            (
                Query(
                    ratio(
                        per_second(m.CACHE, 'outcome="hit"', by=("route",)),
                        per_second(m.CACHE, 'outcome=~"hit|miss"', by=("route",)),
                    ),
                    "{{route}}",
                ),
            ),
        ),
    ),
)

UPSTREAMS = Row(
    "Upstreams",
    (
        Panel(
            "timeseries",
            "Tries by outcome",
            "Tries a second at each upstream, repeats and shadows included; `none` is success.",
            "reqps",
            (Query(per_second(m.ATTEMPTS, by=("upstream", "reason")), "{{upstream}} {{reason}}"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Duration of tries p95",
            "From the start of a try to its last byte or its fault.",
            "s",
            (Query(quantile(0.95, m.ATTEMPT_DURATION, by=("upstream",)), "{{upstream}}"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Breakers",
            "1 while some worker sends an upstream nothing, 0.5 while it probes, else 0.",
            "short",
            (Query(total(select(m.BREAKER), "upstream", operator="max"), "{{upstream}}"),),
            width=6,
            steps=((0.5, "red"),),
        ),
        Panel(
            "timeseries",
            "Connections",
            "Connections to upstreams and requests waiting for one, of all workers.",
            "short",
            (
                Query(total(select(m.POOL), "upstream", "state"), "{{upstream}} {{state}}"),
                Query(total(select(m.UPSTREAM_WAITING), "upstream"), "{{upstream}} waiting"),
            ),
            width=6,
        ),
    ),
)

OVERVIEW = Board(
    uid="driftgate-overview",
    title="driftgate overview",
    description="What is asked, what it takes, who answers, and whether it is still the same.",
    rows=(GLANCE, TRAFFIC, LATENCY, MONEY, UPSTREAMS, DRIFT, INSIDE),
)
