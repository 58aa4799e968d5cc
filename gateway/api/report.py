"""`GET /report`: the report of an interval."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query, Response

from gateway.api.errors import ERRORS, ErrorRoute
from gateway.api.intervals import AskedInterval, window_of
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from monitors.asked import ReportQuery
from monitors.report.as_csv import render_csv
from monitors.report.as_json import encode_report
from monitors.report.build import build_report
from monitors.report.markdown import render_markdown
from monitors.report.model import Report
from monitors.report.page import render_html
from monitors.report.text import render_text

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


Detail = Annotated[
    bool, Query(description="Also the timeline, and histograms of features: more to read.")
]
Form = Annotated[
    Literal["json", "html", "md", "csv", "table"],
    Query(alias="format", description="JSON is versioned; HTML and CSV always have the details."),
]


class Narrowed(NamedTuple):
    """What of the interval is reported, and how."""

    route: str | None = None
    model: str | None = None
    exact: bool = False
    detail: bool = False


class _Kind(NamedTuple):
    """How a format is made, and what it is called on the wire."""

    render: Callable[[Report], str]
    media_type: str


_ALL = Narrowed()
_KINDS = {
    "html": _Kind(render_html, "text/html; charset=utf-8"),
    "md": _Kind(render_markdown, "text/markdown; charset=utf-8"),
    "csv": _Kind(render_csv, "text/csv; charset=utf-8"),
    "table": _Kind(render_text, "text/plain; charset=utf-8"),
}
_DETAILED = frozenset({"html", "csv"})
# The page has styles of its own and nothing else: no script runs, nothing is fetched.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _narrowed(
    *,
    route: str | None = None,
    model: str | None = None,
    exact: Exact = False,
    detail: Detail = False,
) -> Narrowed:
    return Narrowed(route, model, exact, detail)


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
        form: Form = "json",
    ) -> Response:
        """Return the report, narrowed to a route or a model; the interval is [since, until)."""
        now_us = state.clock.now_us()
        asked = AskedInterval(since_us, until_us, since, until)
        window = window_of(asked, now_us, default_since=DEFAULT_SINCE)
        query = ReportQuery(window, *narrowed)
        if form in _DETAILED:
            query = query._replace(detail=True)
        found = build_report(state.repository, query, state.settings.monitors, now_us)
        if form == "json":
            return Response(encode_report(found), media_type="application/json")
        kind = _KINDS[form]
        headers = {"content-security-policy": _PAGE_POLICY}
        return Response(kind.render(found), media_type=kind.media_type, headers=headers)

    return routes
