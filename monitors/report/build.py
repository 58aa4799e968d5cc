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
from monitors.report.recent import newest_window
from monitors.report.traffic import losses_of, totals_of, traffic_of, upstreams_of
from monitors.windows import Window, from_us
from storage import reader
from storage.records import Alert, Baseline
from storage.repository import Repository

MOST_ROWS = 500_000
"""Rows of a route that drift is computed from: columns of these take some 100 MB."""


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
    repository: Repository,
    query: ReportQuery,
    config: MonitorsConfig,
    now_us: int,
    *,
    most_rows: int = MOST_ROWS,
) -> Report:
    """Read, compare and put together; blocks for as long as the queries take.

    Parameters
    ----------
    config : MonitorsConfig
        Levels, budget and watched signals of the drift part.
    now_us : int
        Microseconds since the epoch: `generated_at`.
    most_rows : int
        Of a route with more, drift and missing values are of the newest ones: memory is bounded.

    Raises
    ------
    StorageError
        The log cannot be read.
    """
    baselines = repository.load_baselines(query.route)
    look = DriftLook(now_us, query.window, config)
    reads = _read(repository, query, look, baselines, most_rows)
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
    look: DriftLook,
    baselines: Sequence[Baseline],
    most_rows: int,
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
        drift = [
            look_at_route(
                _bounded(look, connection, total.route, most_rows), total.route, baselines
            )
            for total in totals
        ]
        return _Reads(
            traffic=traffic,
            totals=totals,
            upstreams=upstreams_of(reader.attempts_by_upstream(connection, everything)),
            drift=tuple(drift),
            losses=reader.losses(connection, window),
        )


def _bounded(look: DriftLook, connection: Any, route: str, most_rows: int) -> DriftLook:
    """Return the look at a route's newest rows if it has `most_rows` or more."""
    newest = newest_window(connection, route, most_rows, look.window)
    window = newest or look.window
    which = f"the newest {most_rows} requests, from {from_us(window.from_us)}"
    note = f"route `{route}`: drift and missing values are of {which}"

    def read(route: str, feature: str) -> Column:
        asked = reader.Window(window.from_us, window.to_us)
        return reader.feature_columns(connection, route, [feature], asked)[feature]

    return look._replace(window=window, read=read, notes=(note,) if newest else ())


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
