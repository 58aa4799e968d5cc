"""`GET /drift` and `GET /drift/explain`: where every stream stands, and what moved."""

from typing import Annotated, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from gateway.api.errors import ERRORS, ErrorRoute, ParameterRefused
from gateway.api.intervals import AskedInterval, window_of
from gateway.api.report import Micros, Moment
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from monitors.explain.build import build_explanations, build_state
from monitors.explain.model import DriftExplained, DriftState
from monitors.explain.rows import KEYS
from monitors.explain.state import DriftQuery

DEFAULT_SINCE = "24h"
Baseline = Annotated[
    str | None, Query(max_length=80, description="Name, or `name@version`; default the newest.")
]
Segment = Annotated[str, Query(max_length=256, description="`key=value`, as `variant=candidate`.")]
Deep = Annotated[
    bool, Query(description="Also exact tests over single rows, and a classifier: seconds of work.")
]


class Narrowed(NamedTuple):
    """Which streams; None and an empty segment are any."""

    route: str | None = None
    feature: str | None = None
    segment: str = ""
    baseline: str | None = None


_ALL = Narrowed()
_NO_INTERVAL = AskedInterval(None, None, None, None)


def _narrowed(
    route: str | None = None,
    feature: str | None = None,
    segment: Segment = "",
    baseline: Baseline = None,
) -> Narrowed:
    return Narrowed(route, feature, segment, baseline)


def _interval(
    since_us: Micros = None, until_us: Micros = None, since: Moment = None, until: Moment = None
) -> AskedInterval:
    return AskedInterval(since_us, until_us, since, until)


def router(state: ApiState) -> APIRouter:
    """Return the routes of drift."""
    routes = APIRouter(route_class=ErrorRoute, tags=["drift"])

    def query_of(asked: AskedInterval, narrowed: Narrowed, now_us: int) -> DriftQuery:
        check_segment(narrowed.segment)
        window = window_of(asked, now_us, default_since=DEFAULT_SINCE)
        return DriftQuery(window, *narrowed)

    @routes.get(
        "/drift",
        summary="Show where every stream stands",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 503)},
            200: answer_of(DriftState, "Streams, what drifts first; version 1."),
        },
    )
    def drift(
        asked: Annotated[AskedInterval, Depends(_interval)] = _NO_INTERVAL,
        narrowed: Annotated[Narrowed, Depends(_narrowed)] = _ALL,
    ) -> Response:
        """Return the newest verdict of the interval and the detector of each stream."""
        now_us = state.clock.now_us()
        query = query_of(asked, narrowed, now_us)
        found = build_state(state.repository, query, state.settings.monitors, now_us)
        return _json(found)

    @routes.get(
        "/drift/explain",
        summary="Explain what drifts: bins, onset, segments, causes, examples",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (404, 409, 422, 503)},
            200: answer_of(DriftExplained, "Explanations, version 1."),
        },
    )
    def explain(
        asked: Annotated[AskedInterval, Depends(_interval)] = _NO_INTERVAL,
        narrowed: Annotated[Narrowed, Depends(_narrowed)] = _ALL,
        *,
        deep: Deep = False,
    ) -> Response:
        """Return an explanation of the feature that is named, or of each that drifts."""
        now_us = state.clock.now_us()
        query = query_of(asked, narrowed, now_us)._replace(deep=deep)
        found = build_explanations(state.repository, query, state.settings.monitors, now_us)
        return _json(found)

    return routes


def check_segment(segment: str) -> None:
    """Refuse what is no segment.

    Raises
    ------
    ParameterRefused
    """
    key, is_given, value = segment.partition("=")
    if segment and not (is_given and value and key in KEYS):
        raise ParameterRefused(
            f"`{segment}` is no segment; write key=value with a key of {', '.join(KEYS)}", "segment"
        )


def _json(found: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(found), media_type="application/json")
