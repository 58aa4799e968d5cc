"""The loop that empties the outbox, and keeps open episodes open in Alertmanager."""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.alert_sender import AlertSender
from monitors.alerts import outbox
from monitors.alerts.alertmanager import REPEAT_S, open_body
from monitors.alerts.channels import by_name
from monitors.alerts.config import ChannelConfig
from monitors.alerts.outbox import Result
from monitors.alerts.trial import trial_body
from router.clock import Clock
from storage.records import Delivery
from storage.repository import Repository

log = logging.getLogger(__name__)

CONCURRENCY = 4
_LONGEST_WAIT_S = 30.0
_ERROR_WAIT_S = 5.0


class DeliveryStatistics(NamedTuple):
    """What the loop did since it started.

    Attributes
    ----------
    delivered, failed, dead : int
        Tries that a receiver took; tries that failed; notifications given up.
    kept_open, keep_failed : int
        Posts that keep episodes open in an Alertmanager, and those that failed.
    errors : int
        Turns that raised, such as while the database could not be written.
    unsaved : int
        Results that are not yet in the database; nothing is sent while there are any.
    """

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    kept_open: int = 0
    keep_failed: int = 0
    errors: int = 0
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
        self._awake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsaved: dict[str, Delivery] = {}
        self._kept_at: dict[str, float] = {}
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
        """Send to other channels from the next turn on; what waits for removed ones is given up."""
        self._channels = by_name(channels)
        self._kept_at = {name: at for name, at in self._kept_at.items() if name in self._channels}
        self.wake()

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._loop = asyncio.get_running_loop()
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

    async def deliver_due(self) -> int:
        """Try up to four notifications that are due; return how many were tried."""
        await self._save_unsaved()
        tried, _ = await self._deliver()
        return tried

    async def keep_open(self) -> None:
        """Post open episodes to each Alertmanager that has not heard of them for two minutes."""
        now_s = self._clock.monotonic()
        due = [
            (name, channel)
            for name, channel in self._channels.items()
            if channel.alertmanager is not None
            and now_s - self._kept_at.get(name, -REPEAT_S) >= REPEAT_S
        ]
        if not due:
            return
        alerts = await asyncio.to_thread(self._repository.open_alerts)
        for name, channel in due:
            self._kept_at[name] = now_s
            if alerts:
                result = await self._sender.send(channel, "", open_body(alerts))
                self._count("kept_open" if result.delivered else "keep_failed")
                if not result.delivered:
                    log.warning("%s was not told of open alerts: %s", name, result.error)

    async def test(self, message_id: str) -> list[ChannelResult]:
        """Send a trial notification to every channel, past the outbox; say what came of each."""
        now_us = self._clock.now_us()
        named = list(self._channels.items())
        results = await asyncio.gather(
            *(self._sender.send(c, message_id, trial_body(c, message_id, now_us)) for _, c in named)
        )
        return [
            ChannelResult(name, result) for (name, _), result in zip(named, results, strict=True)
        ]

    async def replay(self, delivery_id: str) -> Delivery | None:
        """Send a notification that has ended once more, under its id; None when there is none.

        One that is pending stays as it is: it is on its way.
        """
        found = await asyncio.to_thread(self._repository.load_delivery, delivery_id)
        if found is None or found.state == "pending":
            return found
        again = outbox.replayed(found, self._clock.now_us())
        await asyncio.to_thread(self._repository.save_delivery, again)
        self.wake()
        return again

    async def _turn(self) -> float:
        """Do what is due; return the seconds until something else is."""
        await self._save_unsaved()
        tried, wait_s = await self._deliver()
        # After the deliveries, and never beside them: an episode that they end stays ended.
        await self.keep_open()
        return 0.0 if tried else min(_LONGEST_WAIT_S, wait_s)

    async def _deliver(self) -> tuple[int, float]:
        pending = await asyncio.to_thread(self._repository.pending_deliveries)
        now_us = self._clock.now_us()
        chosen = outbox.batch(pending, now_us, CONCURRENCY)
        async with asyncio.TaskGroup() as group:
            for delivery in chosen:
                group.create_task(self._try(delivery))
        await self._save_unsaved()
        due_s = outbox.due_in_s(pending, now_us)
        return len(chosen), _LONGEST_WAIT_S if due_s is None else due_s

    async def _try(self, delivery: Delivery) -> None:
        channel = self._channels.get(delivery.channel)
        if channel is None:
            why = "`alerts` names this channel no more; put it back and replay"
            after = outbox.buried(delivery, why)
        else:
            result = await self._sender.send(channel, delivery.id, delivery.body)
            self._count("delivered" if result.delivered else "failed")
            now_us = self._clock.now_us()
            after = outbox.after_try(delivery, result, now_us, self._rng.random())
        if after.state == "dead":
            self._count("dead")
            log.error("%s to %s is given up: %s", after.event, after.channel, after.last_error)
        self._unsaved[after.id] = after

    async def _save_unsaved(self) -> None:
        # Before anything is sent: with a database that takes nothing, receivers would get the
        # same notification again and again.
        for delivery in list(self._unsaved.values()):
            await asyncio.to_thread(self._repository.save_delivery, delivery)
            del self._unsaved[delivery.id]

    def _count(self, name: str) -> None:
        self._counts = self._counts._replace(**{name: getattr(self._counts, name) + 1})
