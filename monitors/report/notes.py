"""What the reader of a report must know of its numbers."""

from collections.abc import Sequence
from typing import Any, Protocol

from monitors.asked import ReportQuery
from monitors.report.drift_part import RouteDrift
from monitors.report.model import RouteTotal, Traffic
from monitors.windows import from_us
from storage import reader

_TIMELESS = frozenset({"file", "columns"})
"""Kinds of baselines whose rows have no times of their own."""


class Reads(Protocol):
    """What was read for a report."""

    @property
    def exact(self) -> bool:
        """Percentiles are those of rows."""
        ...

    @property
    def facts_from(self) -> int:
        """Start of the oldest rows of the interval."""
        ...

    @property
    def covered(self) -> reader.Window:
        """What the counts are of."""
        ...

    @property
    def traffic(self) -> tuple[Traffic, ...]:
        """Variants."""
        ...

    @property
    def totals(self) -> tuple[RouteTotal, ...]:
        """Routes."""
        ...

    @property
    def drift(self) -> tuple[RouteDrift, ...]:
        """Findings by route."""
        ...

    @property
    def losses(self) -> Sequence[dict[str, Any]]:
        """What the spool lost."""
        ...

    @property
    def newest(self) -> int | None:
        """Start of the newest prediction, where the interval has none."""
        ...


def notes_of(query: ReportQuery, reads: Reads) -> tuple[str, ...]:
    """Return sentences that a reader needs beside the numbers."""
    notes: list[str] = []
    if not reads.totals:
        notes.append(_nothing(query, reads.newest))
    elif query.model is not None:
        notes.append("drift, missing values, upstreams and alerts are of all models of a route")
    if query.exact and not reads.exact:
        notes.append(
            f"rows before {from_us(reads.facts_from)} have expired, so that percentiles and"
            " distances come from counts; choose an interval after it for exact ones"
        )
    if reads.covered != (query.window.from_us, query.window.to_us):
        covered = f"{from_us(reads.covered.from_us)} to {from_us(reads.covered.to_us)}"
        notes.append(f"rows of the interval's edges have expired; counts are of {covered}")
    bounded = any(
        "ks_most" in found.measurements for part in reads.drift for found in part.findings
    )
    if reads.exact and bounded:
        notes.append(
            "percentiles and PSI are exact; distances with `ks_most` are within bounds, and far"
            " enough from every threshold for the verdict"
        )
    interrupted = sum(row.interrupted for row in reads.traffic)
    if interrupted:
        notes.append(f"{interrupted} interrupted requests count as errors; no percentile has them")
    if reads.losses:
        notes.append("records were lost before they reached the database; see data quality")
    notes += [note for part in reads.drift for note in part.notes]
    notes += _overlaps(query, reads.drift)
    notes += _made_by_itself(reads.drift)
    return tuple(notes)


def _nothing(query: ReportQuery, newest: int | None) -> str:
    period = f"no predictions from {from_us(query.window.from_us)} to {from_us(query.window.to_us)}"
    if newest is not None:
        return (
            f"{period}; the newest one is of {from_us(newest)}: choose an interval with `--since`"
        )
    named = f" of route `{query.route}`" if query.route is not None else ""
    return (
        f"{period}, and none{named} at all: send traffic through the gateway (`monitor serve`"
        " prints its address, the base URL for your client), or see `monitor demo`"
    )


def _overlaps(query: ReportQuery, drift: Sequence[RouteDrift]) -> list[str]:
    """Name the baselines that have rows of the interval, those of one period together."""
    routes: dict[tuple[str, int, int], list[str]] = {}
    for one in (part.baseline for part in drift if part.baseline is not None):
        first, end = one.window_from, one.window_to
        if one.source.get("kind") not in _TIMELESS and min(end, query.window.to_us) > max(
            first, query.window.from_us
        ):
            label = f"{one.name}@{one.version}"
            routes.setdefault((label, first, end), []).append(f"`{one.route}`")
    return [
        f"baseline `{label}` of route{'s' if len(named) > 1 else ''} {', '.join(named)}"
        f" ({from_us(first)} to {from_us(end)}) overlaps this interval: drift is understated"
        for (label, first, end), named in routes.items()
    ]


def _made_by_itself(drift: Sequence[RouteDrift]) -> list[str]:
    found = [part.baseline for part in drift if part.baseline is not None]
    routes = [f"`{b.route}`" for b in found if b.source.get("kind") == "automatic"]
    if not routes:
        return []
    note = f"the first days of {', '.join(routes)} became the baseline by themselves;"
    return [f"{note} `monitor baseline set` chooses another period"]
