"""A report as titled tables of words and numbers: what the table, Markdown and HTML all show."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitors.report import words
from monitors.report.model import Percentiles, Report, RouteTotal, Traffic
from monitors.report.monitor_sections import monitor_sections
from monitors.report.section import Section, section


class Sections(NamedTuple):
    """A report in the order in which it is read.

    Attributes
    ----------
    quality : tuple of str
        How far the numbers can be trusted, in lines.
    notes : tuple of str
        Sentences.
    """

    head: str
    tables: tuple[Section, ...]
    quality: tuple[str, ...]
    notes: tuple[str, ...]


def sections_of(report: Report) -> Sections:
    """Return everything a report says, worded."""
    tables = (*_traffic_sections(report), *monitor_sections(report))
    quality = tuple(_quality_lines(report))
    return Sections(_head(report), tables, quality, tuple(_notes(report)))


def _head(report: Report) -> str:
    narrowed = [
        f"{name} {value}"
        for name, value in (("route", report.route), ("model", report.model))
        if value is not None
    ]
    scope = f", {', '.join(narrowed)}" if narrowed else ""
    n = words.number(report.requests)
    return f"driftgate report, {words.period(report.interval)}{scope}: {n} requests"


def _notes(report: Report) -> Iterator[str]:
    if not report.exact:
        yield (
            f"percentiles are within {report.relative_error:.1%}, from counts; --exact reads the"
            " rows. Counts and sums are exact."
        )
    yield from report.notes


def _traffic_sections(report: Report) -> Iterator[Section]:
    if report.traffic:
        yield _traffic_table(report.traffic)
        if any(row.reasons for row in report.traffic):
            yield _reasons_table(report.traffic)
        yield _latency_table(report)
        yield _usage_table(report.traffic)
    if report.upstreams:
        columns = "upstream|role|tries|failed|share|retries|p50|p95"
        rows = [
            (
                row.upstream,
                row.role,
                words.number(row.n),
                words.number(row.failed),
                words.share(row.failed_share),
                words.number(row.retries),
                words.seconds(row.latency_p50_s),
                words.seconds(row.latency_p95_s),
            )
            for row in report.upstreams
        ]
        yield section("upstreams", "Upstreams", columns, rows)


def _traffic_table(traffic: Sequence[Traffic]) -> Section:
    columns = "route|variant|role|requests|errors|error share|95 %"
    columns += "|refused|cache hits|fallbacks"
    rows = [
        (
            row.route,
            row.variant,
            row.role,
            words.number(row.n),
            words.number(row.errors),
            words.share(row.error_share),
            words.span(words.share(row.error_low), words.share(row.error_high)),
            words.number(row.refused),
            words.share(row.cache_hit_share),
            words.number(row.fallbacks),
        )
        for row in traffic
    ]
    return section("traffic", "Traffic", columns, rows)


def _reasons_table(traffic: Sequence[Traffic]) -> Section:
    rows = [
        (row.route, row.variant, row.role, said.reason, str(said.status), words.number(said.n))
        for row in traffic
        for said in row.reasons
    ]
    return section("errors", "What went wrong", "route|variant|role|reason|status|n", rows)


def _latency_table(report: Report) -> Section:
    rows: list[Sequence[str]] = []
    for row in report.traffic:
        measures = {
            "latency": row.latency_s,
            "first token": row.ttft_s,
            "overhead": row.overhead_s,
        }
        rows += [
            (
                row.route,
                row.variant,
                row.role,
                name,
                words.number(measured.n),
                *_percentiles(measured),
            )
            for name, measured in measures.items()
            if measured.n
        ]
    variants = [row.route for row in report.traffic if row.role == "primary"]
    rows += [
        (
            *(total.route, "all", "primary", "latency"),
            words.number(total.n - _interrupted(report, total)),
            *(words.seconds(total.latency_p50_s), words.seconds(total.latency_p95_s), ""),
        )
        for total in report.routes
        if variants.count(total.route) > 1
    ]
    return section("latency", "Latency", "route|variant|role|time|n|p50|p95|p99", rows)


def _interrupted(report: Report, total: RouteTotal) -> int:
    """Count the requests of a route that no percentile has."""
    rows = (row for row in report.traffic if (row.route, row.role) == (total.route, "primary"))
    return sum(row.interrupted for row in rows)


def _percentiles(measured: Percentiles) -> tuple[str, str, str]:
    found = measured.p50, measured.p95, measured.p99
    p50, p95, p99 = (words.seconds(value) for value in found)
    return p50, p95, p99


def _usage_table(traffic: Sequence[Traffic]) -> Section:
    columns = "route|variant|role|prompt tokens|response tokens|cached tokens"
    columns += "|tokens unknown|cost USD|cost unknown|truncated"
    rows = [
        (
            row.route,
            row.variant,
            row.role,
            words.number(row.prompt_tokens),
            words.number(row.response_tokens),
            words.number(row.cached_tokens),
            words.number(row.n - row.tokens_known),
            words.dollars(row.cost_usd),
            words.number(row.n - row.cost_known),
            words.number(row.truncated),
        )
        for row in traffic
    ]
    return section("usage", "Tokens and cost", columns, rows)


def _quality_lines(report: Report) -> Iterator[str]:
    quality = report.data_quality
    primaries = [row for row in report.traffic if row.role == "primary"]
    # What no row has, such as tokens of a predictive model, is nothing that this traffic lacks.
    tokens = sum(row.n - row.tokens_known for row in primaries if row.tokens_known)
    costs = sum(row.n - row.cost_known for row in primaries if row.cost_known)
    parts = [
        f"{words.number(quality.interrupted)} interrupted",
        f"{words.number(tokens)} without token counts",
        f"{words.number(costs)} without a cost",
    ]
    parts += [
        f"{loss.kind} spool records {loss.n} times ({loss.frames} frames, {loss.bytes} bytes)"
        for loss in quality.spool_losses
    ]
    if quality.spool_lag_bytes:
        parts.append(f"{quality.spool_lag_bytes} bytes of the spool are not in the database yet")
    yield f"Requests: {'; '.join(parts)}"
    missing: dict[tuple[str, int], list[str]] = {}
    for one in quality.missing:
        if one.missing < one.n:
            named = f"{one.feature} {words.share(one.share)}"
            missing.setdefault((one.route, one.n), []).append(named)
    for (route, n), shares in missing.items():
        yield f"Missing values of {words.number(n)} rows of {route}: {', '.join(shares)}"
