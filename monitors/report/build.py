"""From the prediction log to a report."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from monitors.asked import ROWS_TO_READ, ReportQuery
from monitors.counted import CountedWindows, Features, RowWindows
from monitors.options import MonitorOptions
from monitors.report.drift_part import DriftLook, RouteDrift, Windows, look_at_route
from monitors.report.model import (
    REPORT_VERSION,
    DataQuality,
    Interval,
    Report,
    ReportedAlert,
    RouteTotal,
    Traffic,
    Upstream,
)
from monitors.report.numbers_of import Times, times_from_counts, times_from_rows
from monitors.report.traffic import losses_of, totals_of, traffic_of, upstreams_of
from monitors.windows import from_us
from stats.buckets import RELATIVE_ERROR
from storage import exact, ranks, reader
from storage.log import CATEGORIES, MEASURES, ValueCounts
from storage.log_reader import LogReader
from storage.records import Alert, Baseline
from storage.repository import Repository


class _Reads(NamedTuple):
    """One snapshot of the log: no row is in one part of a report and not in another."""

    exact: bool
    facts_from: int
    covered: reader.Window
    traffic: tuple[Traffic, ...]
    totals: tuple[RouteTotal, ...]
    upstreams: tuple[Upstream, ...]
    drift: tuple[RouteDrift, ...]
    losses: Sequence[dict[str, Any]]


def build_report(
    repository: Repository,
    query: ReportQuery,
    config: MonitorOptions,
    now_us: int,
    *,
    rows_to_read: int = ROWS_TO_READ,
    log: LogReader | None = None,
) -> Report:
    """Read, compare and put together; blocks for as long as the queries take.

    Counts are exact. Percentiles and distances come from the roll-ups' buckets, within 1 %, unless
    rows are asked for or there are few.

    Parameters
    ----------
    config : MonitorOptions
        Levels, budget and watched signals of the drift part.
    now_us : int
        Microseconds since the epoch: `generated_at`.
    rows_to_read : int
        Requests up to which rows are read without being asked.
    log : LogReader, optional
        The snapshot to read, whose answers may be there already; default a new one.

    Raises
    ------
    StorageError
        The log cannot be read.
    """
    baselines = repository.load_baselines(query.route)
    look = DriftLook(now_us, query.window, config)
    with repository.snapshot() if log is None else nullcontext(log) as snapshot:
        reads = _read(snapshot, query, look, baselines, rows_to_read)
    alerts = repository.alerts_between(query.window.from_us, query.window.to_us)
    primaries = [row for row in reads.traffic if row.role == "primary"]
    return Report(
        version=REPORT_VERSION,
        generated_at=now_us,
        interval=Interval(query.window.from_us, query.window.to_us),
        route=query.route,
        model=query.model,
        requests=sum(total.n for total in reads.totals),
        routes=reads.totals,
        traffic=reads.traffic,
        upstreams=reads.upstreams,
        drift=tuple(finding for part in reads.drift for finding in part.findings),
        alerts=tuple(_reported(a) for a in alerts if query.route in {None, a.route}),
        data_quality=DataQuality(
            interrupted=sum(row.interrupted for row in primaries),
            tokens_unknown=sum(row.n - row.tokens_known for row in primaries),
            cost_unknown=sum(row.n - row.cost_known for row in primaries),
            spool_losses=losses_of(reads.losses),
            missing=tuple(share for part in reads.drift for share in part.missing),
        ),
        notes=(*_notes(query, reads), *(note for part in reads.drift for note in part.notes)),
        exact=reads.exact,
        relative_error=0.0 if reads.exact else RELATIVE_ERROR,
    )


def _read(
    log: LogReader,
    query: ReportQuery,
    look: DriftLook,
    baselines: Sequence[Baseline],
    rows_to_read: int,
) -> _Reads:
    everything = query.everything
    window = everything.window
    counts = log.counts(everything)
    attempts = log.attempts(everything)
    facts = log.coverage(window, exact=True).window
    complete = facts == window
    n = sum(row.n for row in counts)
    by_rows = complete and (query.exact or n <= rows_to_read)
    values = () if n <= rows_to_read and by_rows else log.values(everything, MEASURES)
    times = (
        _times_of_rows(log, everything, many=bool(values))
        if by_rows
        else times_from_counts(values, attempts)
    )
    traffic = traffic_of(counts, times)
    totals = totals_of(traffic, times)
    windows: Windows
    if by_rows and n <= rows_to_read:
        windows = RowWindows(log, window)
    else:
        features = _features(log, query, values)
        windows = CountedWindows(log, window, features, complete=complete, exact=by_rows)
    drift = [look_at_route(look, total.route, baselines, windows) for total in totals]
    return _Reads(
        exact=by_rows,
        facts_from=facts.from_us,
        covered=log.coverage(window).window,
        traffic=traffic,
        totals=totals,
        upstreams=upstreams_of(attempts, times),
        drift=tuple(drift),
        losses=reader.losses(log.connection, window),
    )


def _times_of_rows(log: LogReader, scope: reader.Scope, *, many: bool) -> Times:
    timed = ranks.percentiles(log, scope) if many else None
    tried = ranks.attempt_percentiles(log, scope) if many else None
    return times_from_rows(
        exact.percentiles(log.connection, scope) if timed is None else timed,
        exact.attempt_percentiles(log.connection, scope) if tried is None else tried,
    )


def _features(log: LogReader, query: ReportQuery, values: Sequence[ValueCounts]) -> Features:
    if not values or query.model is not None:
        values = log.values(query.primaries, MEASURES)
    return Features.of(values, log.categories(query.primaries, CATEGORIES))


def _notes(query: ReportQuery, reads: _Reads) -> list[str]:
    notes = []
    if not reads.totals:
        notes.append(
            f"no predictions from {from_us(query.window.from_us)} to {from_us(query.window.to_us)}"
        )
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
    return notes


def _reported(alert: Alert) -> ReportedAlert:
    return ReportedAlert(
        id=alert.id,
        kind=alert.kind,
        route=alert.route,
        subject=alert.subject,
        state=alert.state,
        severity=alert.severity,
        opened_at=alert.opened_at,
        resolved_at=alert.resolved_at,
        summary=alert.summary,
    )
