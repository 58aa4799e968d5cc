"""From the prediction log to a report."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from monitors.baselines import Column
from monitors.config import MonitorsConfig
from monitors.report.drift_part import DriftLook, RouteDrift, look_at_route
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
from monitors.report.traffic import losses_of, totals_of, traffic_of, upstreams_of
from monitors.windows import Window, from_us
from storage import reader
from storage.records import Alert, Baseline
from storage.repository import Repository


class ReportQuery(NamedTuple):
    """What a report is about; a `route` or `model` of None is any."""

    window: Window
    route: str | None = None
    model: str | None = None


class _Reads(NamedTuple):
    """One snapshot of the log: no row is in one part of a report and not in another."""

    traffic: tuple[Traffic, ...]
    totals: tuple[RouteTotal, ...]
    upstreams: tuple[Upstream, ...]
    drift: tuple[RouteDrift, ...]
    losses: Sequence[dict[str, Any]]


def build_report(
    repository: Repository, query: ReportQuery, config: MonitorsConfig, now_us: int
) -> Report:
    """Read, compare and put together; blocks for as long as the queries take.

    Parameters
    ----------
    config : MonitorsConfig
        Levels, budget and watched signals of the drift part.
    now_us : int
        Microseconds since the epoch: `generated_at`.

    Raises
    ------
    StorageError
        The log cannot be read.
    """
    baselines = repository.load_baselines(query.route)
    reads = _read(repository, query, config, baselines, now_us)
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
    )


def _read(
    repository: Repository,
    query: ReportQuery,
    config: MonitorsConfig,
    baselines: Sequence[Baseline],
    now_us: int,
) -> _Reads:
    window = reader.Window(query.window.from_us, query.window.to_us)
    everything = reader.Scope(window, route=query.route, model=query.model, role=None)
    primaries = everything._replace(role="primary")
    with repository.reading() as connection:
        connection.begin()
        traffic = traffic_of(
            reader.traffic(connection, everything),
            reader.percentiles(connection, everything),
            reader.reasons(connection, everything),
        )
        # One step as long as the interval: percentiles over all variants of a route.
        whole = reader.timeline(connection, primaries, step_us=window.to_us - window.from_us)
        totals = totals_of(traffic, whole)

        def column(route: str, feature: str) -> Column:
            return reader.feature_columns(connection, route, [feature], window)[feature]

        look = DriftLook(now_us, query.window, config, column)
        return _Reads(
            traffic=traffic,
            totals=totals,
            upstreams=upstreams_of(reader.attempts_by_upstream(connection, everything)),
            drift=tuple(look_at_route(look, total.route, baselines) for total in totals),
            losses=reader.losses(connection, window),
        )


def _notes(query: ReportQuery, reads: _Reads) -> list[str]:
    notes = []
    if not reads.totals:
        notes.append(
            f"no predictions from {from_us(query.window.from_us)} to {from_us(query.window.to_us)}"
        )
    elif query.model is not None:
        notes.append("drift, missing values, upstreams and alerts are of all models of a route")
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
