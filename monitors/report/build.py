"""From the prediction log to a report."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import msgspec

from monitors.asked import ROWS_TO_READ, ReportQuery
from monitors.counted import CountedWindows, Features, RowWindows
from monitors.options import MonitorOptions
from monitors.references.choosing import awaited
from monitors.report.drift_part import DriftLook, RouteDrift, look_at_route
from monitors.report.history import (
    checks_of,
    in_force,
    is_about,
    onsets_of,
    reported,
    rollouts_of,
    segment_findings,
    step_of,
    timeline_of,
)
from monitors.report.input_windows import WithInputs
from monitors.report.model import (
    REPORT_VERSION,
    DataQuality,
    Finding,
    Report,
    RouteTotal,
    Traffic,
    Upstream,
)
from monitors.report.notes import notes_of
from monitors.report.numbers_of import Times, times_from_counts, times_from_rows
from monitors.report.parts import Difference, Interval, Timeline
from monitors.report.performance_part import Found, performance_of
from monitors.report.together import together
from monitors.report.traffic import losses_of, totals_of, traffic_of, upstreams_of
from monitors.report.variants import differences_of, routes_with_variants
from stats.buckets import RELATIVE_ERROR
from storage import exact, monitor_reads, ranks, reader
from storage.log import CATEGORIES, MEASURES, ValueCounts
from storage.log_reader import LogReader
from storage.monitor_reads import RolloutEvent
from storage.records import Baseline, Verdict
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
    differences: tuple[Difference, ...]
    timeline: Timeline | None
    verdicts: Sequence[Verdict]
    rollouts: Sequence[RolloutEvent]
    newest: int | None
    performance: Found


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
    with repository.snapshot() if log is None else nullcontext(log) as snapshot:

        def promised(route: str) -> str | None:
            return awaited(snapshot, config, route, now_us)

        look = DriftLook(now_us, query.window, config, promised, query.detail)
        reads = _read(snapshot, query, look, baselines, rows_to_read)
    alerts = repository.alerts_between(query.window.from_us, query.window.to_us)
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
        drift=_drift(reads),
        alerts=tuple(reported(a) for a in alerts if is_about(a, query.route)),
        data_quality=_data_quality(reads),
        notes=notes_of(query, reads),
        exact=reads.exact,
        relative_error=0.0 if reads.exact else RELATIVE_ERROR,
        slos=checks_of(reads.verdicts, "slo"),
        quality=checks_of(reads.verdicts, "quality"),
        spend=checks_of(reads.verdicts, "spend"),
        rollouts=rollouts_of(reads.rollouts),
        differences=(*reads.differences, *reads.performance.differences),
        baselines=tuple(in_force(d.baseline) for d in reads.drift if d.baseline is not None),
        timeline=reads.timeline,
        performance=reads.performance.routes,
        performance_checks=checks_of(reads.verdicts, "performance"),
    )


def _drift(reads: _Reads) -> tuple[Finding, ...]:
    """Put what the running monitor knows beside this report's own findings."""
    onsets = onsets_of(reads.verdicts)
    own = (finding for part in reads.drift for finding in part.findings)
    dated = (
        msgspec.structs.replace(f, onset_at=onsets.get((f.route, f.feature)))
        if f.verdict == "drift"
        else f
        for f in own
    )
    return together((*dated, *segment_findings(reads.verdicts)))


def _data_quality(reads: _Reads) -> DataQuality:
    primaries = [row for row in reads.traffic if row.role == "primary"]
    return DataQuality(
        interrupted=sum(row.interrupted for row in primaries),
        tokens_unknown=sum(row.n - row.tokens_known for row in primaries),
        cost_unknown=sum(row.n - row.cost_known for row in primaries),
        spool_losses=losses_of(reads.losses),
        missing=tuple(share for part in reads.drift for share in part.missing),
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
    few = by_rows and n <= rows_to_read
    windows = WithInputs(
        _windows(log, query, values, (complete, by_rows, few)), log, window, few=few
    )
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
        differences=_differences(log, query, traffic),
        timeline=_timeline(log, query) if query.detail and n else None,
        verdicts=monitor_reads.newest_verdicts(log.connection, window, query.route),
        rollouts=monitor_reads.rollout_events(log.connection, window, query.route),
        newest=None if n else monitor_reads.newest_start(log.connection, query.route),
        performance=performance_of(log, query, look.config.segments, totals),
    )


def _windows(
    log: LogReader,
    query: ReportQuery,
    values: Sequence[ValueCounts],
    how: tuple[bool, bool, bool],
) -> RowWindows | CountedWindows:
    complete, by_rows, few = how
    window = query.everything.window
    if few:
        return RowWindows(log, window)
    features = _features(log, query, values)
    return CountedWindows(log, window, features, complete=complete, exact=by_rows)


def _differences(
    log: LogReader, query: ReportQuery, traffic: Sequence[Traffic]
) -> tuple[Difference, ...]:
    if not routes_with_variants(traffic):
        return ()
    # The log remembers what percentiles were read from; few rows are counted quickly.
    values = log.values(query.everything, MEASURES)
    given = monitor_reads.scores(log.connection, query.everything.window, query.route)
    return differences_of(traffic, values, given if query.model is None else ())


def _timeline(log: LogReader, query: ReportQuery) -> Timeline:
    step_us = step_of(query.window)
    scope = query.everything._replace(role="primary")
    return timeline_of(log.timeline(scope, step_us), step_us)


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
