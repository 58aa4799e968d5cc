"""Alerts and notifications as the API shows them: what the server and the command line share.

Without the web framework, whose import takes a command longer than its work.
"""

from typing import Literal

import msgspec
from pydantic import BaseModel

from gateway.gone_channels import gone_since
from storage.monitor_records import Silence
from storage.records import Alert, Delivery
from storage.repository import Repository


class AlertModel(BaseModel):
    """An episode; times are microseconds since the epoch."""

    id: str
    kind: str
    route: str
    subject: str
    state: Literal["open", "resolved"]
    severity: Literal["warning", "critical"]
    opened_at: int
    updated_at: int
    resolved_at: int | None
    summary: str
    data: dict[str, object]


class DeliveryModel(BaseModel):
    """A notification; times are microseconds since the epoch."""

    id: str
    alert_id: str
    event: str
    channel: str
    state: Literal["pending", "delivered", "dead", "withheld"]
    created_at: int
    next_at: int
    tries: int
    last_status: int | None
    last_error: str | None
    delivered_at: int | None


class GoneChannel(BaseModel):
    """A channel that is switched off: its receiver answered 410; microseconds since the epoch."""

    channel: str
    since: int


class AlertList(BaseModel):
    """Alerts, newest first, what of the outbox is not delivered, and channels switched off."""

    version: Literal[1] = 1
    alerts: list[AlertModel]
    pending: list[DeliveryModel]
    dead: list[DeliveryModel]
    gone: list[GoneChannel]


class AlertDetail(BaseModel):
    """An alert with all its notifications, oldest first."""

    version: Literal[1] = 1
    alert: AlertModel
    deliveries: list[DeliveryModel]


class Replayed(BaseModel):
    """Notifications that are sent once more."""

    version: Literal[1] = 1
    deliveries: list[DeliveryModel]


class SilenceModel(BaseModel):
    """A silence; times are microseconds since the epoch."""

    id: str
    state: Literal["pending", "active", "ended"]
    created_at: int
    starts_at: int
    ends_at: int
    author: str
    comment: str
    matchers: dict[str, str]


class SilenceList(BaseModel):
    """Silences, the next to end first."""

    version: Literal[1] = 1
    silences: list[SilenceModel]


def silence_model(silence: Silence, now_us: int) -> SilenceModel:
    """Return a silence as the API shows it."""
    began, over = silence.starts_at <= now_us, silence.ends_at <= now_us
    state = "ended" if over else "active" if began else "pending"
    return SilenceModel.model_validate({**msgspec.structs.asdict(silence), "state": state})


def silence_list(repository: Repository, now_us: int, *, ended: bool) -> SilenceList:
    """Read the silences that are active or to come; with `ended`, all."""
    found = repository.silences(ends_after=0 if ended else now_us)
    return SilenceList(silences=[silence_model(silence, now_us) for silence in found])


def alert_model(alert: Alert) -> AlertModel:
    """Return an alert as the API shows it."""
    return AlertModel.model_validate(msgspec.structs.asdict(alert))


def delivery_model(delivery: Delivery) -> DeliveryModel:
    """Return a notification as the API shows it: without its body."""
    shown = msgspec.structs.asdict(delivery)
    return DeliveryModel.model_validate({k: v for k, v in shown.items() if k != "body"})


def alert_list(repository: Repository, since_us: int, until_us: int, *, limit: int) -> AlertList:
    """Read the alerts that were open in a window, and the notifications that wait or are dead."""
    return AlertList(
        alerts=[alert_model(a) for a in repository.alerts_between(since_us, until_us, limit=limit)],
        pending=[delivery_model(d) for d in repository.pending_deliveries(limit=limit)],
        dead=[delivery_model(d) for d in repository.dead_deliveries(limit=limit)],
        gone=[
            GoneChannel(channel=name, since=since_us)
            for name, since_us in gone_since(repository).items()
        ],
    )
