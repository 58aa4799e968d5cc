"""`GET /report`: the report of an interval."""

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Query, Response

from gateway.api.errors import ERRORS, ErrorRoute
from gateway.api.intervals import AskedInterval, window_of
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from monitors.asked import ReportQuery
from monitors.report.as_json import encode_report
from monitors.report.build import build_report
from monitors.report.model import Report

DEFAULT_SINCE = "7d"
_MAX_US = 253_402_300_800_000_000  # the year 10000, where DuckDB's and Python's times part

Micros = Annotated[
    int | None, Query(ge=0, lt=_MAX_US, description="Microseconds since the epoch, UTC.")
]
Moment = Annotated[
    str | None, Query(max_length=64, description="`24h`, `7d`, ISO 8601, `today`, `yesterday`.")
]
Exact = Annotated[
    bool, Query(description="Percentiles and distances from rows, not within 1 %: seconds of work.")
]


class Narrowed(NamedTuple):
    """What of the interval is reported, and how."""

    route: str | None = None
    model: str | None = None
    exact: bool = False


_ALL = Narrowed()


def _narrowed(
    *, route: str | None = None, model: str | None = None, exact: Exact = False
) -> Narrowed:
    return Narrowed(route, model, exact)


def router(state: ApiState) -> APIRouter:
    """Return the routes of the report."""
    routes = APIRouter(route_class=ErrorRoute, tags=["report"])

    @routes.get(
        "/report",
        summary="Report traffic, latency, cost, drift and data quality of an interval",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 503)},
            200: answer_of(Report, "The report, version 1."),
        },
    )
    def report(
        since_us: Micros = None,
        until_us: Micros = None,
        since: Moment = None,
        until: Moment = None,
        narrowed: Annotated[Narrowed, Depends(_narrowed)] = _ALL,
    ) -> Response:
        """Return the report, narrowed to a route or a model; the interval is [since, until)."""
        now_us = state.clock.now_us()
        asked = AskedInterval(since_us, until_us, since, until)
        window = window_of(asked, now_us, default_since=DEFAULT_SINCE)
        query = ReportQuery(window, *narrowed)
        found = build_report(state.repository, query, state.settings.monitors, now_us)
        return Response(encode_report(found), media_type="application/json")

    return routes
