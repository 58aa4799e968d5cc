"""`GET /status`: what runs, and whether it keeps up."""

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.api.errors import ERRORS, ErrorRoute
from gateway.api.state import ApiState
from gateway.version import VERSION
from monitors.windows import SECOND_US
from storage import reader

RECENT_S = 300


class LoopStatus(BaseModel):
    """A working thread: turns that raised since the start."""

    failures: int


class MonitorStatus(BaseModel):
    """Looks since the start; `waiting` says which routes have no verdicts, and why."""

    enabled: bool
    looks: int
    verdicts: int
    last_at: int | None
    waiting: dict[str, str]


class RouteStatus(BaseModel):
    """Requests of the last five minutes; `errors` are ours, not the clients'."""

    route: str
    requests: int
    errors: int


class VerdictStatus(BaseModel):
    """Newest verdict of a monitor on a feature; `segment` is empty for all rows of the route."""

    monitor: str
    route: str
    segment: str
    feature: str
    verdict: str
    severity: str
    at: int


class Status(BaseModel):
    """The control plane's state; times are microseconds since the epoch."""

    version: str
    at: int
    listen: str
    routes: list[str]
    upstreams: list[str]
    recent: list[RouteStatus]
    monitor: MonitorStatus
    verdicts: list[VerdictStatus]
    loops: dict[str, LoopStatus]
    open_alerts: int


def router(state: ApiState) -> APIRouter:
    """Return the routes of the status."""
    routes = APIRouter(route_class=ErrorRoute, tags=["status"])

    @routes.get(
        "/status",
        summary="Say what runs and whether it keeps up",
        responses={503: ERRORS[503]},
    )
    def status() -> Status:
        """Return counts since the start, the last five minutes, and the newest verdicts."""
        now_us = state.clock.now_us()
        settings, monitor = state.settings, state.monitor.statistics()
        loops = {name: LoopStatus(failures=loop.failures) for name, loop in state.loops.items()}
        return Status(
            version=VERSION,
            at=now_us,
            listen=settings.gateway.listen,
            routes=list(settings.routes),
            upstreams=list(settings.upstreams),
            recent=_recent(state, now_us),
            monitor=MonitorStatus(
                enabled=settings.monitors.enabled,
                looks=monitor.looks,
                verdicts=monitor.verdicts,
                last_at=monitor.last_at,
                waiting=dict(monitor.waiting),
            ),
            verdicts=_verdicts(state),
            loops=loops,
            open_alerts=len(state.repository.open_alerts()),
        )

    return routes


def _verdicts(state: ApiState) -> list[VerdictStatus]:
    return [
        VerdictStatus(
            monitor=found.monitor,
            route=found.route,
            segment=found.segment,
            feature=found.feature,
            verdict=found.verdict,
            severity=found.severity,
            at=found.at,
        )
        for found in state.repository.latest_verdicts()
    ]


def _recent(state: ApiState, now_us: int) -> list[RouteStatus]:
    window = reader.Window(now_us - RECENT_S * SECOND_US, now_us + 1)
    with state.repository.reading() as connection:
        counted = reader.traffic(connection, reader.Scope(window))
    names = dict.fromkeys(row["route"] for row in counted)
    return [
        RouteStatus(
            route=name,
            requests=sum(row["n"] for row in counted if row["route"] == name),
            errors=sum(row["failed"] for row in counted if row["route"] == name),
        )
        for name in names
    ]
