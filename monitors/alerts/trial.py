"""The notification of `monitor alerts test`: tells receivers that it means nothing."""

from collections.abc import Sequence

import msgspec

from monitors.alerts.alertmanager import alert_of
from monitors.alerts.config import ChannelConfig
from monitors.alerts.payload import webhook_body
from monitors.windows import SECOND_US
from storage.records import Alert

EVENT = "alert.test"
_LASTS_US = 60 * SECOND_US


def trial_bodies(channel: ChannelConfig, message_id: str, now_us: int) -> Sequence[bytes]:
    """Return the bodies of a trial for a channel, in their order.

    An Alertmanager ends it after a minute, PagerDuty gets its end at once.
    """
    alert = Alert(
        id=message_id,
        kind="test",
        route="*",
        subject="test",
        state="open",
        severity="warning",
        opened_at=now_us,
        updated_at=now_us,
        resolved_at=None,
        summary="This is a test of the channel; nothing has happened.",
        data={},
    )
    ending = msgspec.structs.replace(alert, resolved_at=now_us + _LASTS_US)
    if channel.alertmanager is not None:
        return [msgspec.json.encode([alert_of(ending)])]
    bodies = [webhook_body(EVENT, alert, now_us)]
    if channel.pagerduty is not None:
        bodies.append(webhook_body("test.resolved", ending, now_us))
    return bodies
