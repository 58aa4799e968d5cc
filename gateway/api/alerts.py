"""Alerts and their notifications over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from gateway.api import silences
from gateway.api.alert_shapes import (
    AlertDetail,
    AlertList,
    DeliveryModel,
    Replayed,
    alert_list,
    alert_model,
    delivery_model,
)
from gateway.api.alerts_state import NOT_FOUND, AlertsState, refusal
from gateway.api.errors import ErrorRoute
from storage.ids import IdSource

_DAY_US = 86_400_000_000
_LAST_US = 250_000_000_000_000_000  # in the year 9892: what dates can hold


class TrialResult(BaseModel):
    """What came of a trial notification to one channel."""

    channel: str
    delivered: bool
    status: int | None
    error: str | None


class TrialResults(BaseModel):
    """What came of a trial notification to every channel."""

    version: Literal[1] = 1
    results: list[TrialResult]


def router(state: AlertsState) -> APIRouter:
    """Return the routes, relative to the API's root."""
    routes = APIRouter(tags=["alerts"], route_class=ErrorRoute)
    ids = IdSource(state.clock.now_us)

    @routes.get("/alerts", summary="Alerts of a period, and notifications not delivered")
    def list_alerts(
        since_us: Annotated[
            int | None, Query(ge=0, le=_LAST_US, description="default: seven days ago")
        ] = None,
        until_us: Annotated[
            int | None, Query(ge=0, le=_LAST_US, description="default: now")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> AlertList:
        """Return the alerts that were open at some time of the period, newest first."""
        until = state.clock.now_us() + 1 if until_us is None else until_us
        since = max(0, until - 7 * _DAY_US) if since_us is None else since_us
        return alert_list(state.repository, since, until, limit=limit)

    @routes.post("/alerts/test", summary="Send a trial notification to every channel")
    async def test_channels() -> TrialResults:
        """Send one now, past the outbox, and say what came of it."""
        found = await state.delivery.test(ids.new_id())
        return TrialResults(
            results=[
                TrialResult(
                    channel=name,
                    delivered=result.delivered,
                    status=result.status,
                    error=result.error,
                )
                for name, result in found
            ]
        )

    @routes.get(
        "/alerts/{alert_id}", summary="One alert", response_model=AlertDetail, responses=NOT_FOUND
    )
    def one_alert(alert_id: str) -> AlertDetail | Response:
        """Return an alert with all its notifications."""
        alert = state.repository.load_alert(alert_id)
        if alert is None:
            return refusal(404, f"there is no alert `{alert_id}`", "not_found")
        deliveries = state.repository.deliveries_of(alert_id)
        return AlertDetail(
            alert=alert_model(alert), deliveries=[delivery_model(d) for d in deliveries]
        )

    _add_replay(routes, state)
    routes.include_router(silences.router(state))
    return routes


def _add_replay(routes: APIRouter, state: AlertsState) -> None:
    @routes.post(
        "/deliveries/{delivery_id}/replay",
        summary="Send a notification once more",
        response_model=DeliveryModel,
        responses=NOT_FOUND,
    )
    async def replay(delivery_id: str) -> DeliveryModel | Response:
        """Queue a dead or delivered notification again under the same `webhook-id`."""
        found = await state.delivery.replay(delivery_id)
        if found is None:
            return refusal(404, f"there is no delivery `{delivery_id}`", "not_found")
        return delivery_model(found)

    @routes.post("/deliveries/replay", summary="Send all that was given up once more")
    async def replay_dead() -> Replayed:
        """Queue up to a thousand of the newest dead notifications again, under their ids."""
        again = await state.delivery.replay_dead()
        return Replayed(deliveries=[delivery_model(d) for d in again])
