"""`GET /logs`: the newest predictions, those that come after, and one of them whole."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from gateway.api.errors import ERRORS, ErrorRoute, NothingFound
from gateway.api.intervals import AskedInterval, window_of
from gateway.api.log_query import (
    LAST_US,
    LOG_TIME_S,
    MAX_ROWS,
    Asked,
    PageAsked,
    log_filter,
    read_one,
    read_page,
)
from gateway.api.queries import Places, read_while_asked
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from gateway.user_keys import stored_user_keys
from storage.reader import Window
from storage.sql import BoundedReader

DEFAULT_SINCE = "1h"
_PLACES = 4
_TIME = "Microseconds since the epoch, UTC."
_MOMENT = "`24h`, `7d`, ISO 8601, `today`, `yesterday`."


class LogPage(msgspec.Struct, frozen=True):
    """Predictions, and where to go on.

    Attributes
    ----------
    rows : list of dict
        Every column of `predictions`, times as microseconds since the epoch, UTC; with `payload`
        also the text. The newest ones, oldest first; with `after`, as they came in.
    after : str
        What is written from now on lies behind it.
    more : bool
        There are more rows of the filter: older ones, or with `after` further ones.
    """

    rows: list[dict[str, Any]]
    after: str
    more: bool
    version: Literal[1] = 1


class LogRecord(msgspec.Struct, frozen=True):
    """One prediction with `attempt_list`, `payload` (null where there is no text), `feedback`."""

    record: dict[str, Any]
    version: Literal[1] = 1


class LogsAsked(Asked):
    """Which predictions are asked for, of which interval, and how many."""

    since_us: int | None = Field(None, ge=0, lt=LAST_US, description=_TIME)
    until_us: int | None = Field(None, ge=0, lt=LAST_US, description=_TIME)
    since: str | None = Field(None, max_length=64, description=_MOMENT)
    until: str | None = Field(None, max_length=64, description=_MOMENT)
    limit: int = Field(100, ge=1, le=MAX_ROWS)
    after: str | None = Field(None, max_length=128, description="`after` of the answer before.")
    payload: bool = Field(default=False, description="With the text; at most 100 rows then.")


def router(state: ApiState) -> APIRouter:
    """Return the routes of the log."""
    routes = APIRouter(route_class=ErrorRoute, tags=["logs"])
    places = Places(_PLACES)

    @routes.get(
        "/logs",
        summary="Predictions of an interval, newest last, or those that came in since",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 429, 503)},
            200: answer_of(LogPage, "The predictions, version 1."),
        },
    )
    async def logs(request: Request, asked: Annotated[LogsAsked, Query()]) -> Response:
        """Return the newest predictions of a filter; with `after`, the next ones behind it."""
        window = _window(state, asked)
        keys = stored_user_keys(state.settings, asked.user) if asked.user is not None else ()
        wanted = log_filter(window, asked, keys)
        bounded = BoundedReader(state.repository.reading, time_s=LOG_TIME_S)
        part = PageAsked(asked.limit, asked.after, asked.payload)
        with places.place():
            page = await read_while_asked(
                request, bounded, lambda: read_page(bounded, wanted, part)
            )
        return _json(LogPage(page.rows, str(page.after), page.more))

    @routes.get(
        "/logs/{prediction_id}",
        summary="One prediction whole: facts, tries, text and feedback",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 429, 503)},
            404: {**ERRORS[404], "description": "There is no prediction of that id."},
            200: answer_of(LogRecord, "The prediction, version 1."),
        },
    )
    async def one(request: Request, prediction_id: str) -> Response:
        """Return a prediction by its `x-driftgate-id`."""
        bounded = BoundedReader(state.repository.reading, time_s=LOG_TIME_S)
        with places.place():
            found = await read_while_asked(
                request, bounded, lambda: read_one(bounded, prediction_id)
            )
        if found is None:
            raise NothingFound(f"there is no prediction `{prediction_id}` in the log (yet)")
        return _json(LogRecord(found))

    return routes


def _window(state: ApiState, asked: LogsAsked) -> Window:
    interval = AskedInterval(asked.since_us, asked.until_us, asked.since, asked.until)
    window = window_of(interval, state.clock.now_us(), default_since=DEFAULT_SINCE)
    is_open = asked.until_us is None and asked.until is None
    return Window(window.from_us, LAST_US - 1 if is_open else window.to_us)


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
