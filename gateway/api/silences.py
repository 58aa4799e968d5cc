"""Silences over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.alert_shapes import SilenceList, SilenceModel, silence_list, silence_model
from gateway.api.alerts_state import NOT_FOUND, AlertsState, refusal
from gateway.api.errors import ErrorBody, ErrorRoute
from monitors.alerts.silences import LONGEST_S, check_silence, ended
from monitors.errors import SilenceRefused
from storage.ids import IdSource
from storage.monitor_records import Silence

_SECOND_US = 1_000_000
_LAST_US = 200_000_000_000_000_000
_REFUSED: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorBody, "description": "It names nothing that can be silenced."}
}


class NewSilence(BaseModel):
    """What to silence, from when on, for how long."""

    model_config = ConfigDict(extra="forbid")

    matchers: dict[str, str] = Field(
        description="`route`, `kind`, `subject`, `severity`, `segment`, `feature` to a pattern with"
        " `*` and `?`; all must fit"
    )
    duration_s: float = Field(gt=0, le=LONGEST_S)
    starts_at: int | None = Field(
        None, ge=0, le=_LAST_US, description="microseconds since the epoch; default: now"
    )
    author: str = ""
    comment: str = ""


def router(state: AlertsState) -> APIRouter:
    """Return the routes, relative to the API's root."""
    routes = APIRouter(tags=["alerts"], route_class=ErrorRoute)
    ids = IdSource(state.clock.now_us)

    @routes.get("/silences", summary="Silences, the next to end first")
    def list_silences(
        *, ended: Annotated[bool, Query(description="also those that have ended")] = False
    ) -> SilenceList:
        """Return what is silenced, and what will be."""
        return silence_list(state.repository, state.clock.now_us(), ended=ended)

    @routes.post(
        "/silences", summary="Silence alerts", response_model=SilenceModel, responses=_REFUSED
    )
    def add_silence(wanted: NewSilence) -> SilenceModel | Response:
        """Hold back the notifications of matching alerts until it ends."""
        now_us = state.clock.now_us()
        starts_at = now_us if wanted.starts_at is None else max(now_us, wanted.starts_at)
        silence = Silence(
            id=ids.new_id(),
            created_at=now_us,
            starts_at=starts_at,
            ends_at=starts_at + round(wanted.duration_s * _SECOND_US),
            author=wanted.author,
            comment=wanted.comment,
            matchers=dict(wanted.matchers),
        )
        try:
            check_silence(silence)
        except SilenceRefused as error:
            return refusal(422, str(error), "invalid_silence")
        state.repository.save_silence(silence)
        state.delivery.wake()
        return silence_model(silence, now_us)

    _add_end(routes, state)
    return routes


def _add_end(routes: APIRouter, state: AlertsState) -> None:
    @routes.delete(
        "/silences/{silence_id}",
        summary="End a silence",
        response_model=SilenceModel,
        responses=NOT_FOUND,
    )
    def end_silence(silence_id: str) -> SilenceModel | Response:
        """End it now; notifications of what is still open are sent."""
        found = [s for s in state.repository.silences(ends_after=0) if s.id == silence_id]
        if not found:
            return refusal(404, f"there is no silence `{silence_id}`", "not_found")
        now_us = state.clock.now_us()
        over = ended(found[0], now_us)
        state.repository.save_silence(over)
        state.delivery.wake()
        return silence_model(over, now_us)
