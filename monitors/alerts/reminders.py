"""Reminders: an episode that stays open is told again to the channels that ask for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from monitors.alerts.channels import wants
from monitors.alerts.config import ChannelConfig
from monitors.alerts.payload import REMINDED, webhook_body
from monitors.windows import SECOND_US
from storage.records import Alert, Delivery


def reminders(
    alerts: Sequence[Alert],
    told_at: Mapping[tuple[str, str], int],
    channels: Mapping[str, ChannelConfig],
    now_us: int,
    new_id: Callable[[], str],
) -> Iterator[Delivery]:
    """Return a notification of each open alert for each channel that heard of it long ago.

    Parameters
    ----------
    alerts : sequence of Alert
        The open ones.
    told_at : mapping
        (alert, channel) to the time of the newest notification, in microseconds since the epoch.
        Without one, nothing is told: it was never told of, or one waits.
    """
    for alert in alerts:
        for name, channel in channels.items():
            last_us = told_at.get((alert.id, name))
            if channel.remind is None or last_us is None or not wants(channel, alert):
                continue
            if now_us - last_us < channel.remind * SECOND_US:
                continue
            event = f"{alert.kind}.{REMINDED}"
            yield Delivery(
                id=new_id(),
                alert_id=alert.id,
                event=event,
                channel=name,
                body=webhook_body(event, alert, now_us),
                state="pending",
                created_at=now_us,
                next_at=now_us + round(channel.group_wait_s * SECOND_US),
            )
