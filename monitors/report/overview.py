"""A report at a glance: what is well and what is not, and the figures that people ask for first."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from monitors.report import words
from monitors.report.model import Finding, Report, Traffic
from monitors.report.parts import Check
from stats.confidence import wilson


class State(NamedTuple):
    """One line: `word` says it, `style` repeats it in colour."""

    word: str
    style: Literal["good", "warn", "bad"]
    sentence: str


class Tile(NamedTuple):
    """One figure, and what stands below it."""

    name: str
    figure: str
    more: str


def states_of(report: Report) -> Iterator[State]:
    """Yield the state of drift, of every other monitor that spoke, and of alerts."""
    yield _drift_state(report.drift)
    for name, checks in (
        ("service levels", report.slos),
        ("quality of data", report.quality),
        ("spend", report.spend),
        ("labels and scores", report.performance_checks),
    ):
        if checks:
            yield _check_state(name, checks)
    still_open = sum(1 for alert in report.alerts if alert.state == "open")
    if still_open:
        yield State(f"{still_open} open", "bad", _counted(len(report.alerts), "alert"))
    else:
        yield State("none open", "good", _counted(len(report.alerts), "alert"))


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'} in the interval"


def _drift_state(drift: Sequence[Finding]) -> State:
    moved = [f for f in drift if f.verdict == "drift"]
    told = [f for f in drift if f.verdict in {"ok", "drift"}]
    if not told:
        return State("unknown", "warn", "drift: nothing could be compared")
    sentence = f"drift: {len(moved)} of {len(told)} features moved"
    if not moved:
        return State("ok", "good", sentence)
    critical = any(f.severity == "critical" for f in moved)
    names = ", ".join(dict.fromkeys(f"{f.route}/{f.feature}" for f in moved[:4]))
    more = f" and {len(moved) - 4} more" if len(moved) > 4 else ""
    word = "drift, critical" if critical else "drift, warning"
    return State(word, "bad" if critical else "warn", f"{sentence}: {names}{more}")


def _check_state(name: str, checks: Sequence[Check]) -> State:
    over = [check for check in checks if check.verdict == "breach"]
    if all(check.verdict == "not_enough_data" for check in checks):
        return State("unknown", "warn", f"{name}: not enough data yet")
    if not over:
        return State("ok", "good", f"{name}: {len(checks)} looked at, none in breach")
    critical = any(check.severity == "critical" for check in over)
    names = ", ".join(f"{check.route}/{check.subject}" for check in over[:4])
    word = "breach, critical" if critical else "breach, warning"
    return State(word, "bad" if critical else "warn", f"{name}: {names}")


def tiles_of(report: Report) -> Iterator[Tile]:
    """Yield the figures of all routes together."""
    primaries = [row for row in report.traffic if row.role == "primary"]
    n, errors = sum(row.n for row in primaries), sum(row.errors for row in primaries)
    routes = len(report.routes)
    yield Tile("Requests", words.large(n), f"{routes} route{'' if routes == 1 else 's'}")
    if not n:
        return
    ends = wilson(errors, n)
    yield Tile(
        "Errors",
        words.share(errors / n),
        f"{words.number(errors)}; {words.span(words.share(ends.low), words.share(ends.high))}",
    )
    largest = max(report.routes, key=lambda row: row.n)
    yield Tile(
        "Latency, p95",
        words.seconds(largest.latency_p95_s),
        f"{largest.route}, p50 {words.seconds(largest.latency_p50_s)}",
    )
    yield from _usage_tiles(primaries)


def _usage_tiles(primaries: Sequence[Traffic]) -> Iterator[Tile]:
    tokens = [row.response_tokens for row in primaries if row.response_tokens is not None]
    prompts = [row.prompt_tokens for row in primaries if row.prompt_tokens is not None]
    yield Tile(
        "Response tokens",
        words.large(sum(tokens) if tokens else None),
        f"{words.large(sum(prompts) if prompts else None)} of prompts",
    )
    costs = [row.cost_usd for row in primaries if row.cost_usd is not None]
    known = sum(row.cost_known for row in primaries)
    whole = sum(costs)
    cost = words.UNKNOWN if not costs else f"{whole:,.2f}" if whole >= 1.0 else f"{whole:.4f}"
    yield Tile("Cost, USD", cost, f"known of {words.number(known)} requests")
    hits = sum(row.cache_hits for row in primaries)
    asked = hits + sum(row.cache_misses for row in primaries)
    part = words.share(hits / asked if asked else None)
    yield Tile("Cache hits", part, f"of {words.number(asked)} that asked it")
    fallbacks = sum(row.fallbacks for row in primaries)
    yield Tile("Fallbacks", words.number(fallbacks), "answered by another upstream")
