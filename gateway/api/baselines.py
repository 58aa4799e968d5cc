"""`/baselines`: set, list, show and drop the references of drift."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.baseline_jobs import (
    Wanted,
    add_built,
    list_baselines,
    set_baselines,
    show_baseline,
)
from gateway.api.baseline_shapes import (
    NAME_PATTERN,
    BaselineDetail,
    BaselinesSet,
    BuiltAdded,
    Listed,
)
from gateway.api.errors import ERRORS, ErrorRoute
from gateway.api.intervals import AskedInterval, window_of
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from monitors.errors import NoBaseline
from storage.records import Baseline

_TIME = "Microseconds since the epoch, UTC."
_MAX_US = 253_402_300_800_000_000

Name = Annotated[str, Path(pattern=NAME_PATTERN)]
Route = Annotated[str, Query(min_length=1, description="Name from the configuration.")]


class BaselineWanted(BaseModel):
    """A baseline to set: over an interval, or over the newest rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("default", pattern=NAME_PATTERN)
    route: str | None = Field(None, description="Without one: every route with traffic.")
    since_us: int | None = Field(None, ge=0, lt=_MAX_US, description=_TIME)
    until_us: int | None = Field(None, ge=0, lt=_MAX_US, description=_TIME)
    since: str | None = Field(None, max_length=64, description="`24h`, `7d`, ISO 8601, `today`.")
    until: str | None = Field(None, max_length=64, description="As `since`; default: now.")
    last: int | None = Field(None, ge=1, description="The newest rows instead of an interval.")
    previous_s: float | None = Field(
        None, gt=0, le=366 * 86_400, description="So long before midnight, made anew every day."
    )
    variant: str | None = Field(None, min_length=1, description="Rows of this variant alone.")
    seasonal: bool = Field(False, description="By hour of the week; two weeks at least.")


class BuiltBaseline(BaseModel):
    """A baseline that was built elsewhere, such as of a training file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("default", pattern=NAME_PATTERN)
    route: str = Field(min_length=1)
    rows: int = Field(ge=1, le=2**53)
    window_from: int = Field(ge=0, lt=_MAX_US, description=_TIME)
    window_to: int = Field(ge=0, lt=_MAX_US, description=_TIME)
    cells: dict[str, dict[str, Any]] = Field(description="As `Baseline.cells` has them.")
    source: dict[str, Any]


class Dropped(BaseModel):
    """Versions that were removed."""

    dropped: int


def router(state: ApiState) -> APIRouter:
    """Return the routes of baselines."""
    routes = APIRouter(route_class=ErrorRoute, tags=["baselines"])
    _add_reads(routes, state)
    _add_writes(routes, state)
    _add_built(routes, state)
    return routes


def _add_reads(routes: APIRouter, state: ApiState) -> None:
    @routes.get(
        "/baselines",
        summary="List baselines",
        response_class=Response,
        responses={200: answer_of(Listed, "Every version."), 503: ERRORS[503]},
    )
    def list_all(route: str | None = None, name: str | None = None) -> Response:
        """Return every version of every baseline, oldest first."""
        return _json(Listed(list_baselines(state.repository, route, name)))

    @routes.get(
        "/baselines/{name}",
        summary="Show what a baseline holds",
        response_class=Response,
        responses={**ERRORS, 200: answer_of(BaselineDetail, "The baseline and its features.")},
    )
    def show(name: Name, route: Route, version: int | None = None) -> Response:
        """Return the features of a baseline; without `version`, of the newest one."""
        baselines = state.repository.load_baselines(route)
        return _json(show_baseline(baselines, route, name, version))


def _add_writes(routes: APIRouter, state: ApiState) -> None:
    @routes.post(
        "/baselines",
        summary="Set a baseline",
        response_class=Response,
        status_code=201,
        responses={**ERRORS, 201: answer_of(BaselinesSet, "What was set, and what was not.")},
    )
    def set_one(wanted: BaselineWanted) -> Response:
        """Save a new version: of one route, or of each that has traffic."""
        now_us = state.clock.now_us()
        asked = AskedInterval(wanted.since_us, wanted.until_us, wanted.since, wanted.until)
        # The newest rows may be of any age; of an interval, a day is the default.
        window = window_of(asked, now_us, default_since="1970-01-01" if wanted.last else "24h")
        job = Wanted(
            wanted.name,
            wanted.route,
            window,
            wanted.last,
            wanted.previous_s,
            wanted.variant,
            wanted.seasonal,
        )
        made = set_baselines(state.repository, state.settings.monitors, job, now_us)
        return _json(made, 201)

    @routes.delete(
        "/baselines/{name}",
        summary="Drop all versions of a baseline",
        responses={code: ERRORS[code] for code in (404, 422, 503)},
    )
    def drop(name: Name, route: Route) -> Dropped:
        """Remove a baseline; verdicts that were given on it stay."""
        dropped = state.repository.drop_baseline(route, name)
        if not dropped:
            raise NoBaseline(f"route `{route}` has no baseline `{name}`")
        return Dropped(dropped=dropped)


def _add_built(routes: APIRouter, state: ApiState) -> None:
    @routes.post(
        "/baselines/built",
        summary="Add a baseline that was built elsewhere",
        response_class=Response,
        status_code=201,
        responses={**ERRORS, 201: answer_of(BuiltAdded, "What was added, and what was not.")},
    )
    def add_one(built: BuiltBaseline) -> Response:
        """Save a new version of a route, as far as it fits the inputs of its models."""
        baseline = Baseline(
            name=built.name,
            version=1,
            created_at=state.clock.now_us(),
            window_from=built.window_from,
            window_to=built.window_to,
            route=built.route,
            rows=built.rows,
            cells=dict(built.cells),
            source=built.source,
        )
        return _json(add_built(state.repository, baseline), 201)


def _json(value: msgspec.Struct, status_code: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code, media_type="application/json")
