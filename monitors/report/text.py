"""The report for people: tables of words and numbers; colour only repeats what words say."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitors.report.model import (
    DataQuality,
    Finding,
    Percentiles,
    Report,
    RouteTotal,
    Traffic,
)
from monitors.report.printable import printable
from monitors.report.tables import Cell, Column, folded, table_lines
from monitors.windows import from_us

_STYLES = {"ok": "green", "drift": "red", "open": "red", "critical": "red", "warning": "yellow"}
_WORDS = {"not_enough_data": "not enough data"}
_UNKNOWN = "-"
_DRIFT = "Drift"
_LEFT = (
    *("route", "variant", "role", "upstream", "feature", "verdict", "severity"),
    *("baseline", "cause", "state", "kind", "opened", "summary", "reason", "time"),
)


def render_text(report: Report, *, width: int = 120, colour: bool = False) -> str:
    """Return the report as tables.

    Parameters
    ----------
    width : int
        Columns of the terminal; sentences are folded, words and numbers stay whole.
    colour : bool
        Write ANSI colours.
    """
    lines = [*folded(_head(report), width), ""]
    for table in _tables(report):
        columns = [Column(n, left=n in _LEFT, sentence=n == "summary") for n in table.columns]
        rows = [[Cell(text, _colour(text)) for text in row] for row in table.rows]
        lines += table_lines(table.title, columns, rows, width=width, colour=colour)
        lines.append("")
        if table.title == _DRIFT:
            lines += [line for text in _cause_lines(report.drift) for line in folded(text, width)]
    for text in (*_quality_lines(report.data_quality), *(f"note: {n}" for n in _notes(report))):
        lines += folded(text, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def _colour(text: str) -> str:
    return _STYLES.get(text.partition(",")[0], "")


def _notes(report: Report) -> Iterator[str]:
    if not report.exact:
        yield (
            f"percentiles are within {report.relative_error:.1%}, from counts; --exact reads the"
            " rows. Counts and sums are exact."
        )
    yield from report.notes


def _head(report: Report) -> str:
    narrowed = [
        f"{name} {printable(value)}"
        for name, value in (("route", report.route), ("model", report.model))
        if value is not None
    ]
    scope = f", {', '.join(narrowed)}" if narrowed else ""
    interval = f"{from_us(report.interval.from_us)} to {from_us(report.interval.to_us)}"
    return f"driftgate report, {interval}{scope}: {report.requests} requests"


def _tables(report: Report) -> Iterator[_Table]:
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
                str(row.n),
                str(row.failed),
                _share(row.failed_share),
                str(row.retries),
                _seconds(row.latency_p50_s),
                _seconds(row.latency_p95_s),
            )
            for row in report.upstreams
        ]
        yield _table("Upstreams", columns, rows)
    if report.drift:
        yield _drift_table(report.drift)
    if report.alerts:
        columns = "severity|state|kind|route|opened|summary"
        alerts = [
            (a.severity, a.state, a.kind, a.route, from_us(a.opened_at), a.summary)
            for a in report.alerts
        ]
        yield _table("Alerts", columns, alerts)


def _traffic_table(traffic: Sequence[Traffic]) -> _Table:
    columns = "route|variant|role|requests|errors|error share|95 %"
    columns += "|refused|cache hits|fallbacks"
    rows = [
        (
            row.route,
            row.variant,
            row.role,
            str(row.n),
            str(row.errors),
            _share(row.error_share),
            f"{_share(row.error_low)}..{_share(row.error_high)}",
            str(row.refused),
            _share(row.cache_hit_share),
            str(row.fallbacks),
        )
        for row in traffic
    ]
    return _table("Traffic", columns, rows)


def _reasons_table(traffic: Sequence[Traffic]) -> _Table:
    columns = "route|variant|role|reason|status|n"
    rows = [
        (row.route, row.variant, row.role, said.reason, str(said.status), str(said.n))
        for row in traffic
        for said in row.reasons
    ]
    return _table("What went wrong", columns, rows)


def _latency_table(report: Report) -> _Table:
    columns = "route|variant|role|time|n|p50|p95|p99"
    rows: list[Sequence[str]] = []
    for row in report.traffic:
        measures = {
            "latency": row.latency_s,
            "first token": row.ttft_s,
            "overhead": row.overhead_s,
        }
        rows += [
            (row.route, row.variant, row.role, name, str(measured.n), *_percentiles(measured))
            for name, measured in measures.items()
            if measured.n
        ]
    variants = [row.route for row in report.traffic if row.role == "primary"]
    rows += [
        (
            *(total.route, "all", "primary", "latency", str(total.n - _interrupted(report, total))),
            *(_seconds(total.latency_p50_s), _seconds(total.latency_p95_s), ""),
        )
        for total in report.routes
        if variants.count(total.route) > 1
    ]
    return _table("Latency", columns, rows)


def _interrupted(report: Report, total: RouteTotal) -> int:
    """Count the requests of a route that no percentile has."""
    rows = (row for row in report.traffic if (row.route, row.role) == (total.route, "primary"))
    return sum(row.interrupted for row in rows)


def _usage_table(traffic: Sequence[Traffic]) -> _Table:
    columns = "route|variant|role|prompt tokens|response tokens|cached tokens"
    columns += "|tokens unknown|cost USD|cost unknown|truncated"
    rows = [
        (
            row.route,
            row.variant,
            row.role,
            _number(row.prompt_tokens),
            _number(row.response_tokens),
            _number(row.cached_tokens),
            str(row.n - row.tokens_known),
            _UNKNOWN if row.cost_usd is None else f"{row.cost_usd:.4f}",
            str(row.n - row.cost_known),
            str(row.truncated),
        )
        for row in traffic
    ]
    return _table("Tokens and cost", columns, rows)


def _drift_table(drift: Sequence[Finding]) -> _Table:
    columns = "route|feature|verdict|psi|95 %|n|baseline n|baseline"
    rows = [
        (
            row.route,
            row.feature,
            f"drift, {row.severity}" if row.verdict == "drift" else _word(row.verdict),
            _UNKNOWN if row.value is None else f"{row.value:.3f}",
            _UNKNOWN if row.low is None or row.high is None else f"{row.low:.3f}..{row.high:.3f}",
            str(row.n_current),
            str(row.n_reference),
            row.baseline,
        )
        for row in drift
    ]
    return _table(_DRIFT, columns, rows)


def _word(verdict: str) -> str:
    return _WORDS.get(verdict, verdict)


def _cause_lines(drift: Sequence[Finding]) -> Iterator[str]:
    for row in drift:
        if row.verdict != "ok":
            yield f"{row.route}/{row.feature}: {row.cause}"


def _quality_lines(quality: DataQuality) -> Iterator[str]:
    parts = [
        f"{quality.interrupted} interrupted",
        f"{quality.tokens_unknown} without token counts",
        f"{quality.cost_unknown} without a cost",
    ]
    parts += [
        f"{loss.kind} spool records {loss.n} times ({loss.frames} frames, {loss.bytes} bytes)"
        for loss in quality.spool_losses
    ]
    if quality.spool_lag_bytes:
        parts.append(f"{quality.spool_lag_bytes} bytes of the spool are not in the database yet")
    yield ""
    yield f"Data quality: {'; '.join(parts)}"
    missing = [f"{m.route}/{m.feature} {_share(m.share)} of {m.n}" for m in quality.missing]
    if missing:
        yield f"Missing values: {', '.join(missing)}"


def _table(title: str, columns: str, rows: Sequence[Sequence[str]]) -> _Table:
    return _Table(title, columns.split("|"), rows)


def _percentiles(measured: Percentiles) -> tuple[str, str, str]:
    return _seconds(measured.p50), _seconds(measured.p95), _seconds(measured.p99)


def _seconds(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.3g} ms" if value < 0.9995 else f"{value:.2f} s"


def _share(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:.2%}" if 0.0 < value < 0.01 else f"{value:.1%}"


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.0f}"
