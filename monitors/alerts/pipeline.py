"""From verdicts to the outbox: alerts and their notifications, in one transaction."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from monitors.alerts.alertmanager import event_body
from monitors.alerts.channels import by_name, wants
from monitors.alerts.config import ChannelConfig
from monitors.alerts.dedup import (
    REOPENS_S,
    AlertKey,
    Step,
    key_of,
    key_of_change,
    resolve_delay_s,
    step,
)
from monitors.alerts.payload import webhook_body
from monitors.episodes import Change, EpisodeKey, EpisodeSeverity, episodes
from monitors.windows import SECOND_US
from router.clock import Clock
from storage.records import Alert, Delivery, Verdict


class Store(Protocol):
    """What the pipeline reads from and writes to the prediction log."""

    def open_alerts(self) -> Sequence[Alert]:
        """Return the alerts that are not resolved."""
        ...

    def alerts_between(self, window_from: int, window_to: int) -> Sequence[Alert]:
        """Return the alerts that were open at some time of a window, newest first."""
        ...

    def save_alerts(self, alerts: Sequence[Alert], deliveries: Sequence[Delivery] = ()) -> None:
        """Write alerts and notifications in one transaction, in place of the same ids."""
        ...


class AlertPipeline:
    """Keeps episodes; call it from one thread, never from the event loop.

    What is open is read from the log each time: after a crash between a verdict and its alert the
    next look finds the same drift and opens it then.
    """

    def __init__(
        self,
        store: Store,
        channels: Sequence[ChannelConfig],
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._channels = by_name(channels)
        self._clock = clock
        self._new_id = new_id

    def on_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Open, update, escalate and end the episodes that a look's verdicts are about."""
        if not verdicts:
            return
        was: dict[EpisodeKey, EpisodeSeverity] = {
            (alert.route, alert.subject): alert.severity
            for alert in self._store.open_alerts()
            if alert.kind == alert.subject
        }
        changes = episodes(was, verdicts)
        told = {(change.route, change.subject) for change in changes}
        # An episode that goes on shows its last look: asked as if new, told to nobody.
        going_on = (c for c in episodes({}, verdicts) if (c.route, c.subject) in was.keys() - told)
        self.handle([*changes, *going_on])

    def handle(self, changes: Sequence[Change]) -> None:
        """Save what changes make of alerts, and a notification of each event for each channel."""
        if not changes:
            return
        now_us = self._clock.now_us()
        current = self._current(changes, now_us)
        alerts: dict[str, Alert] = {}
        deliveries: list[Delivery] = []
        for change in changes:
            key = key_of_change(change)
            taken = step(change, current.get(key), now_us, self._new_id())
            if taken is None:
                continue
            alerts[taken.alert.id] = current[key] = taken.alert
            deliveries += self._notifications(taken, now_us)
        if alerts:
            self._store.save_alerts(list(alerts.values()), deliveries)

    def _current(self, changes: Sequence[Change], now_us: int) -> dict[AlertKey, Alert]:
        """Return what is open, and of what is not, what ended so lately that it may go on."""
        current = {key_of(alert): alert for alert in self._store.open_alerts()}
        if all(key_of_change(change) in current for change in changes):
            return current
        since_us = now_us - round(REOPENS_S * SECOND_US)
        for alert in self._store.alerts_between(since_us, now_us + 1):
            current.setdefault(key_of(alert), alert)
        return current

    def _notifications(self, taken: Step, now_us: int) -> Iterator[Delivery]:
        if taken.event is None:
            return
        ends = taken.alert.state == "resolved"
        delay_s = resolve_delay_s(taken.alert) if ends else 0.0
        for name, channel in self._channels.items():
            if not wants(channel, taken.alert):
                continue
            wait_s = max(delay_s, channel.group_wait_s)
            yield Delivery(
                id=self._new_id(),
                alert_id=taken.alert.id,
                event=taken.event,
                channel=name,
                body=_body(channel, taken, taken.event, now_us),
                state="pending",
                created_at=now_us,
                next_at=now_us + round(wait_s * SECOND_US),
            )


def _body(channel: ChannelConfig, taken: Step, event: str, now_us: int) -> bytes:
    """Return what the outbox keeps: the sender makes of it what the channel's service takes."""
    if channel.alertmanager is not None:
        return event_body(taken.alert, taken.was)
    return webhook_body(event, taken.alert, now_us)
