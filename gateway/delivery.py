"""The loop that empties the outbox, and keeps open episodes open in Alertmanager."""

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.alert_sender import AlertSender
from gateway.gone_channels import GONE, GoneChannels
from monitors.alerts import outbox
from monitors.alerts.alertmanager import REPEAT_S, open_body
from monitors.alerts.channels import by_name, wants
from monitors.alerts.config import ChannelConfig
from monitors.alerts.outbox import Result
from monitors.alerts.reminders import reminders
from monitors.alerts.sift import Quiet, is_held, sift
from monitors.alerts.slack import GAP_S
from monitors.alerts.trial import trial_bodies
from monitors.windows import SECOND_US
from router.clock import Clock
from router.tasks import TaskSet
from storage.channel_state import open_and_told
from storage.ids import IdSource
from storage.records import Alert, Delivery
from storage.repository import Repository
from storage.state_rows import DELIVERIES

log = logging.getLogger(__name__)

CONCURRENCY = 2
"""Tries of one channel at a time; channels never wait for each other."""
_LONGEST_REST_S = 3_600.0
_REPLAYED = 1_000
_LONGEST_WAIT_S = 30.0
_ERROR_WAIT_S = 5.0
_REMINDERS_EVERY_S = 60.0


class DeliveryStatistics(NamedTuple):
    """What the loop did since it started.

    Attributes
    ----------
    delivered, failed, dead : int
        Tries that a receiver took; tries that failed; notifications given up.
    kept_open, keep_failed : int
        Posts that keep episodes open in an Alertmanager, and those that failed.
    withheld : int
        Notifications not sent on purpose: grouped, silenced, taken back.
    errors : int
        Turns that raised, such as while the database could not be written.
    waiting : int
        Notifications in the outbox at the last turn, silenced ones included.
    unsaved : int
        Results that are not yet in the database; nothing is sent while there are any.
    """

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    kept_open: int = 0
    keep_failed: int = 0
    withheld: int = 0
    errors: int = 0
    waiting: int = 0
    unsaved: int = 0


class ChannelResult(NamedTuple):
    """What came of a trial notification to one channel."""

    channel: str
    result: Result


class DeliveryLoop:
    """Sends what is due; its whole state is in the database, so a restart goes on where it was.

    All methods but `wake` run on one event loop. A notification whose result could not be written
    is not sent again by this object; after a restart it is, under the same id.
    """

    def __init__(
        self,
        repository: Repository,
        channels: Sequence[ChannelConfig],
        clock: Clock,
        rng: random.Random,
        *,
        sender: AlertSender | None = None,
    ) -> None:
        self._repository = repository
        self._channels = by_name(channels)
        self._clock = clock
        self._rng = rng
        self._sender = sender or AlertSender(clock)
        self._started_us = clock.now_us()
        self._awake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flights = TaskSet()
        self._busy: set[str] = set()
        self._gone = GoneChannels(repository)
        self._rests_until: dict[str, int] = {}
        self._unsaved: dict[str, Delivery] = {}
        self._kept_at: dict[str, float] = {}
        self._reminded_at = -_REMINDERS_EVERY_S
        self._new_id = IdSource(clock.now_us).new_id
        self._counts = DeliveryStatistics()

    def statistics(self) -> DeliveryStatistics:
        """Return counts since the start."""
        return self._counts._replace(unsaved=len(self._unsaved))

    def wake(self) -> None:
        """Look at the outbox now; from any thread."""
        # The loop may be closed by now: then nobody has to be woken.
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._awake.set)

    def reconfigure(self, channels: Sequence[ChannelConfig]) -> None:
        """Send to other channels from the next turn on; what waits for removed ones is given up.

        One that answered 410 gets something again if its entry is another now.
        """
        self._channels = by_name(channels)
        self._kept_at = {name: at for name, at in self._kept_at.items() if name in self._channels}
        self._gone.keep(self._channels)
        self._rests_until.clear()
        self.wake()

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._awake.clear()
                try:
                    wait_s = await self._turn()
                except Exception:  # the webhook loop: counted, logged, tried again
                    self._count("errors")
                    wait_s = _ERROR_WAIT_S
                    log.exception("deliveries stopped; going on in %.0f s", wait_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._awake.wait()
        finally:
            await self._flights.cancel()

    async def deliver_due(self) -> int:
        """Try what is due, up to two notifications a channel; return how many were tried."""
        chosen, _ = await self._chosen()
        await asyncio.gather(*(self._flight(name, due, ()) for name, due in chosen.items()))
        await self._save_unsaved()
        return sum(len(due) for due in chosen.values())

    async def keep_open(self) -> None:
        """Post open episodes to each Alertmanager that has not heard of them for two minutes."""
        kept = await self._to_keep()
        await asyncio.gather(*(self._flight(name, (), alerts) for name, alerts in kept.items()))

    async def test(self, message_id: str) -> list[ChannelResult]:
        """Send a trial notification to every channel, past the outbox; say what came of each."""
        await self._gone.load(self._channels)
        results = await asyncio.gather(
            *(self._test(name, channel, message_id) for name, channel in self._channels.items())
        )
        self._awake.set()
        return results

    async def replay(self, delivery_id: str) -> Delivery | None:
        """Send a notification that has ended once more, under its id; None when there is none.

        One that is pending stays as it is: it is on its way.
        """
        found = await asyncio.to_thread(self._repository.load_delivery, delivery_id)
        if found is None or found.state == "pending":
            return found
        (again,) = await self._replayed([found])
        return again

    async def replay_dead(self) -> list[Delivery]:
        """Send up to a thousand of the newest that were given up once more, under their ids."""
        dead = await asyncio.to_thread(self._repository.dead_deliveries, limit=_REPLAYED)
        return await self._replayed(dead)

    async def _replayed(self, ended: Sequence[Delivery]) -> list[Delivery]:
        await self._gone.load(self._channels)
        now_us = self._clock.now_us()
        again = [outbox.replayed(delivery, now_us) for delivery in ended]
        await asyncio.to_thread(self._repository.save_alerts, (), again)
        for delivery in again:
            self._gone.discard(delivery.channel)
            self._rests_until.pop(delivery.channel, None)
        await self._gone.save()
        self._awake.set()
        return again

    async def _test(self, name: str, channel: ChannelConfig, message_id: str) -> ChannelResult:
        result = Result(None, "nothing was sent")
        for body in trial_bodies(channel, message_id, self._clock.now_us()):
            result = await self._sender.send(channel, message_id, body)
            if not result.delivered:
                return ChannelResult(name, result)
        self._gone.discard(name)
        return ChannelResult(name, result)

    async def _turn(self) -> float:
        """Start what is due; return the seconds until something else is."""
        chosen, wait_s = await self._chosen()
        kept = await self._to_keep()
        for name in chosen.keys() | kept.keys():
            self._flights.start(self._flight(name, chosen.get(name, ()), kept.get(name, ())))
        return min(_LONGEST_WAIT_S, wait_s)

    async def _chosen(self) -> tuple[dict[str, list[Delivery]], float]:
        """Save and sift what waits; return by channel what is sent now, and when to look again."""
        await self._gone.load(self._channels)
        await self._save_unsaved()
        await self._remind()
        pending = await self._sifted()
        self._counts = self._counts._replace(waiting=len(pending))
        now_us = self._clock.now_us()
        due = outbox.batches(pending, now_us, CONCURRENCY, self._rests_until)
        # What has just landed is not written yet: to the database it still waits.
        chosen = {
            name: self._as_many_as_it_takes(name, found)
            for name, found in due.items()
            if name not in self._busy and not any(d.id in self._unsaved for d in found)
        }
        waiting = [d for d in pending if d.channel not in self._busy | chosen.keys()]
        due_s = outbox.due_in_s(waiting, now_us, self._rests_until)
        return chosen, _LONGEST_WAIT_S if due_s is None else due_s

    def _as_many_as_it_takes(self, name: str, due: list[Delivery]) -> list[Delivery]:
        channel = self._channels.get(name)
        return due[:1] if channel is not None and channel.slack is not None else due

    async def _sifted(self) -> list[Delivery]:
        """Return what waits, after silences and groups have changed it."""
        pending = await asyncio.to_thread(self._repository.pending_deliveries)
        still = [d for d in pending if d.channel not in self._busy and d.id not in self._unsaved]
        if not still:
            return pending
        now_us = self._clock.now_us()
        quiet = await asyncio.to_thread(self._quiet, still, now_us)
        changed = sift(still, quiet, self._channels, now_us, self._started_us)
        if not changed:
            return pending
        await asyncio.to_thread(self._repository.save_alerts, (), changed)
        self._counts = self._counts._replace(
            withheld=self._counts.withheld + sum(d.state == "withheld" for d in changed)
        )
        by_id = {d.id: d for d in changed}
        found = (by_id.get(d.id, d) for d in pending)
        return [d for d in found if d.state == "pending"]

    async def _remind(self) -> None:
        """Queue what is to be told again; looked for once a minute."""
        now_s = self._clock.monotonic()
        asked = any(channel.remind is not None for channel in self._channels.values())
        if asked and now_s - self._reminded_at >= _REMINDERS_EVERY_S:
            self._reminded_at = now_s
            await asyncio.to_thread(self._queue_reminders, self._live())

    def _live(self) -> dict[str, ChannelConfig]:
        """Return the channels that are not switched off."""
        return {name: one for name, one in self._channels.items() if (name, one) not in self._gone}

    def _queue_reminders(self, channels: Mapping[str, ChannelConfig]) -> None:
        # In one transaction: an end that came in between would be told first.
        with self._repository.writing() as connection:
            alerts, told = open_and_told(connection)
            now_us = self._clock.now_us()
            found = list(reminders(alerts, told, channels, now_us, self._new_id))
            if found:
                DELIVERIES.insert(connection, found)

    def _quiet(self, pending: Sequence[Delivery], now_us: int) -> Quiet:
        silences = self._repository.silences(ends_after=now_us)
        if not silences and not any(is_held(delivery) for delivery in pending):
            return Quiet()
        return Quiet(silences, {alert.id: alert for alert in self._repository.open_alerts()})

    async def _to_keep(self) -> dict[str, list[Alert]]:
        """Return the Alertmanagers that must hear of open episodes again, and of which."""
        now_s = self._clock.monotonic()
        due = {
            name: channel
            for name, channel in self._channels.items()
            if channel.alertmanager is not None
            and name not in self._busy
            and (name, channel) not in self._gone
            and now_s - self._kept_at.get(name, -REPEAT_S) >= REPEAT_S
        }
        if not due:
            return {}
        alerts, held = await asyncio.to_thread(self._open_and_held)
        self._kept_at |= dict.fromkeys(due, now_s)
        kept = {
            name: [a for a in alerts if wants(channel, a) and (a.id, name) not in held]
            for name, channel in due.items()
        }
        return {name: found for name, found in kept.items() if found}

    def _open_and_held(self) -> tuple[list[Alert], set[tuple[str, str]]]:
        alerts = self._repository.open_alerts()
        pending = self._repository.pending_deliveries() if alerts else []
        return alerts, {(d.alert_id, d.channel) for d in pending if is_held(d)}

    def _flight(
        self, name: str, due: Sequence[Delivery], alerts: Sequence[Alert]
    ) -> Coroutine[None, None, None]:
        # Now, not when its task begins: the next choice may come before.
        self._busy.add(name)
        return self._fly(name, due, alerts)

    async def _fly(self, name: str, due: Sequence[Delivery], alerts: Sequence[Alert]) -> None:
        """Send to one channel: what is due, then what stays open."""
        try:
            async with asyncio.TaskGroup() as group:
                for delivery in due:
                    group.create_task(self._try(delivery))
            # After the deliveries, and never beside them: an episode that they end stays ended.
            if alerts:
                await self._keep(name, alerts)
        finally:
            self._busy.discard(name)
            self._awake.set()

    async def _keep(self, name: str, alerts: Sequence[Alert]) -> None:
        channel = self._channels.get(name)
        if channel is None:
            return
        result = await self._sender.send(channel, "", open_body(alerts))
        self._count("kept_open" if result.delivered else "keep_failed")
        if not result.delivered:
            log.warning("%s was not told of open alerts: %s", name, result.error)

    async def _try(self, delivery: Delivery) -> None:
        channel = self._channels.get(delivery.channel)
        if channel is None:
            why = "`alerts` names this channel no more; put it back and replay"
            after = outbox.buried(delivery, why)
        elif (delivery.channel, channel) in self._gone:
            after = outbox.buried(delivery, GONE)
        else:
            result = await self._sender.send(channel, delivery.id, delivery.body)
            self._count("delivered" if result.delivered else "failed")
            now_us = self._clock.now_us()
            self._note(delivery.channel, channel, result, now_us)
            after = outbox.after_try(delivery, result, now_us, self._rng.random())
        if after.state == "dead":
            self._count("dead")
            log.error("%s to %s is given up: %s", after.event, after.channel, after.last_error)
        self._unsaved[after.id] = after

    def _note(self, name: str, channel: ChannelConfig, result: Result, now_us: int) -> None:
        """Remember what an answer says of all that waits for its channel."""
        if result.status == outbox.GONE:
            self._gone.add(name, channel, now_us)
        asked_s = 0.0 if result.delivered else min(result.retry_after_s or 0.0, _LONGEST_REST_S)
        rest_s = max(asked_s, GAP_S if channel.slack is not None else 0.0)
        if rest_s:
            self._rests_until[name] = now_us + round(rest_s * SECOND_US)

    async def _save_unsaved(self) -> None:
        # Before anything is sent: with a database that takes nothing, receivers would get the
        # same notification again and again.
        for delivery in list(self._unsaved.values()):
            await asyncio.to_thread(self._repository.save_delivery, delivery)
            del self._unsaved[delivery.id]
        await self._gone.save()

    def _count(self, name: str) -> None:
        self._counts = self._counts._replace(**{name: getattr(self._counts, name) + 1})
