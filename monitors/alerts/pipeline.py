"""From verdicts to the outbox: alerts and their notifications, in one transaction."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from monitors.alerts.alertmanager import event_body
from monitors.alerts.channels import by_name
from monitors.alerts.config import ChannelConfig
from monitors.alerts.dedup import AlertKey, Step, key_of, key_of_change, step
from monitors.alerts.payload import webhook_body
from monitors.episodes import Change, EpisodeKey, EpisodeSeverity, episodes
from router.clock import Clock
from storage.records import Alert, Delivery, Verdict


class Store(Protocol):
    """What the pipeline reads from and writes to the prediction log."""

    def open_alerts(self) -> Sequence[Alert]:
        """Return the alerts that are not resolved."""
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
        current: dict[AlertKey, Alert] = {key_of(a): a for a in self._store.open_alerts()}
        alerts: dict[str, Alert] = {}
        deliveries: list[Delivery] = []
        for change in changes:
            key = key_of_change(change)
            taken = step(change, current.get(key), now_us, self._new_id())
            if taken is None:
                continue
            alerts[taken.alert.id] = taken.alert
            deliveries += self._notifications(taken, now_us)
            current[key] = taken.alert
            if taken.alert.state == "resolved":
                del current[key]
        if alerts:
            self._store.save_alerts(list(alerts.values()), deliveries)

    def _notifications(self, taken: Step, now_us: int) -> Iterator[Delivery]:
        if taken.event is None:
            return
        for name, channel in self._channels.items():
            body = (
                webhook_body(taken.event, taken.alert, now_us)
                if channel.webhook is not None
                else event_body(taken.alert, taken.was)
            )
            yield Delivery(
                id=self._new_id(),
                alert_id=taken.alert.id,
                event=taken.event,
                channel=name,
                body=body,
                state="pending",
                created_at=now_us,
                next_at=now_us,
            )
