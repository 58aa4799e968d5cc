"""The notification of `monitor alerts test`: tells receivers that it means nothing."""

import msgspec

from monitors.alerts.alertmanager import alert_of
from monitors.alerts.config import ChannelConfig
from monitors.alerts.payload import webhook_body
from monitors.windows import SECOND_US
from storage.records import Alert

EVENT = "alert.test"
_LASTS_US = 60 * SECOND_US


def trial_body(channel: ChannelConfig, message_id: str, now_us: int) -> bytes:
    """Return the body of a trial for a channel; an Alertmanager ends it after a minute."""
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
    if channel.webhook is not None:
        return webhook_body(EVENT, alert, now_us)
    ending = msgspec.structs.replace(alert, resolved_at=now_us + _LASTS_US)
    return msgspec.json.encode([alert_of(ending)])
