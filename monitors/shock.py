"""Common shocks: everything moves at once, so that one alert says it; and what changed then."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from monitors.embeddings.names import finding_of
from monitors.signals.table import OPTIONAL
from monitors.windows import SECOND_US
from storage.log import CountRow
from storage.records import Verdict

LEAST = 3
"""Features of a route, or routes, that open in one look before it is called a shock."""
SHARE_MOVED = 0.2
"""Change of a share of the traffic that is worth telling."""
RATE_MOVED = 2.0
"""Factor of the request rate that is worth telling."""
MOST_FACTS = 6


class Span(NamedTuple):
    """What a span of time counted: requests by variant, model and version; its length."""

    rows: Sequence[CountRow]
    length_s: float

    @classmethod
    def before(cls, rows: Sequence[CountRow], from_us: int, to_us: int) -> "Span":
        """Return a span that traffic may begin within: before its first row it has no rate."""
        begin = min((row.first_at for row in rows), default=from_us)
        return cls(rows, max(1, to_us - max(from_us, begin)) / SECOND_US)


def opens(verdict: Verdict, was_open: bool) -> bool:  # noqa: FBT001 - what was before, never a literal
    """Say whether a verdict opens an episode."""
    return not was_open and verdict.verdict == "drift"


def marked(
    verdicts: Sequence[Verdict],
    were_open: Mapping[tuple[str, str, str], bool],
    *,
    shared_before: bool = False,
) -> list[Verdict]:
    """Mark what opens together.

    Where at least three, and half, of a route's measured features open in one look, their verdicts
    say `common_shock`. Where three routes have something that opens, those verdicts say `shared`
    as well: their episode is one of all routes (`episodes.EVERYWHERE`).
    An embedding is one feature.

    Parameters
    ----------
    were_open : mapping
        By route, segment and feature.
    shared_before : bool
        An episode of all routes goes on: it was told long ago, so that nothing can join it.
    """
    opened: dict[str, set[str]] = {}
    measured: dict[str, set[str]] = {}
    fresh = set()
    for verdict in verdicts:
        key = (verdict.route, verdict.segment, verdict.feature)
        if opens(verdict, were_open.get(key, False)):
            fresh.add(key)
            if not verdict.segment:
                opened.setdefault(verdict.route, set()).add(finding_of(verdict.feature))
        # What most traffic has nothing of stands still in most shocks: it outvotes nobody.
        counts = key in fresh or verdict.feature not in OPTIONAL
        if counts and not verdict.segment and verdict.value is not None:
            measured.setdefault(verdict.route, set()).add(finding_of(verdict.feature))
    shocked = {
        route
        for route, names in opened.items()
        if len(names) >= max(LEAST, math.ceil(len(measured[route]) / 2))
    }
    busy = {route for (route, _, _), is_open in were_open.items() if is_open}
    together = opened.keys() - busy
    everywhere = together if len(together) >= LEAST and not shared_before else set()
    return [
        _with_marks(v, common=v.route in shocked, shared=v.route in everywhere)
        if (v.route, v.segment, v.feature) in fresh
        else v
        for v in verdicts
    ]


def _with_marks(verdict: Verdict, *, common: bool, shared: bool) -> Verdict:
    marks = {"common_shock": common or shared, "shared": shared}
    told = {name: True for name, is_so in marks.items() if is_so}
    if not told:
        return verdict
    return msgspec.structs.replace(verdict, details={**verdict.details, **told})


def what_changed(before: Span, after: Span) -> list[str]:
    """Return what else changed between two spans of a route, a sentence part each.

    Models, variants, upstreams, cached answers and those of a fallback whose share of the requests
    moved by a fifth, or that are new or gone, and the request rate.
    """
    if not before.rows or not after.rows:
        return []
    found: list[str] = []
    for name in ("model", "variant", "upstream"):
        found += shares_moved(name, _by(before.rows, name), _by(after.rows, name))
    hits = _by(before.rows, "cache").get("hit", 0.0), _by(after.rows, "cache").get("hit", 0.0)
    found += _moved("answers from the cache", *hits)
    others = _by(before.rows, "fallback"), _by(after.rows, "fallback")
    found += _moved("answers of a fallback", *(by.get("True", 0.0) for by in others))
    rate = sum(row.n for row in after.rows) / after.length_s
    was = sum(row.n for row in before.rows) / before.length_s
    if not 1.0 / RATE_MOVED < rate / was < RATE_MOVED:
        found.append(f"requests went from {was:.3g} to {rate:.3g} a second")
    return found[:MOST_FACTS]


def _by(rows: Iterable[CountRow], name: str) -> dict[str, float]:
    counts: dict[str, int] = {}
    for row in rows:
        if row.role == "primary":
            value = str(getattr(row, name))
            counts[value] = counts.get(value, 0) + row.n
    total = sum(counts.values())
    return {value: n / total for value, n in counts.items()}


def shares_moved(name: str, before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Return the values of `name` whose share of the requests moved by a fifth, a part each."""
    moved = {
        value: after.get(value, 0.0) - before.get(value, 0.0)
        for value in before.keys() | after.keys()
    }
    order = sorted(moved, key=lambda value: (-abs(moved[value]), value))
    return [
        part
        for value in order
        for part in _moved(f"{name} `{value}`", before.get(value, 0.0), after.get(value, 0.0))
    ]


def _moved(what: str, before: float, after: float) -> list[str]:
    if abs(after - before) < SHARE_MOVED:
        return []
    return [f"{what} went from {before:.0%} to {after:.0%} of requests"]
