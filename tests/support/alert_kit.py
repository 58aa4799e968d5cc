"""Episodes and notifications for tests: changes as monitors make them, over a real database."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Literal

from gateway.alert_sender import AlertSender
from gateway.delivery import DeliveryLoop
from monitors.alerts.config import ChannelConfig
from monitors.alerts.pipeline import AlertPipeline
from monitors.episodes import Change
from storage.ids import IdSource
from storage.records import Delivery, Verdict
from storage.repository import Repository

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
HOUR_S = 3600.0


class MovingClock:
    """A clock that starts now and moves when it is told to."""

    def __init__(self) -> None:
        self._start_us = time.time_ns() // 1000
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self.now_s

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._start_us + round(self.now_s * 1e6)


def webhook(url: str, **more: object) -> ChannelConfig:
    """Return a channel to a receiver on this machine."""
    config = {"url": url, "secret": SECRET, "allow_private": True, **more}
    return ChannelConfig.model_validate({"webhook": config})


def change(
    event: str, severity: Literal["warning", "critical"] = "warning", route: str = "chat"
) -> Change:
    """Return a change of an episode of drift."""
    data: dict[str, object] = {"version": 1, "features": [{"feature": "prompt_chars", "value": 1}]}
    return Change(f"drift.{event}", route, "drift", severity, f"drift {event}", data)


def verdict(
    word: Literal["ok", "drift", "stale"],
    severity: Literal["none", "warning", "critical"] = "none",
    *,
    feature: str = "prompt_chars",
    route: str = "chat",
    value: float = 0.3,
) -> Verdict:
    """Return a verdict of one look."""
    return Verdict(
        id=f"{route}:{feature}",
        at=0,
        monitor="drift",
        route=route,
        feature=feature,
        kind="numeric",
        verdict=word,
        severity=severity,
        statistic="psi",
        value=value,
        low=0.1,
        high=0.5,
        threshold=1.0,
        n_reference=1000,
        n_current=400,
        window_from=0,
        window_to=3_600_000_000,
        baseline="b@1",
        details={"open": word != "ok", "cause": "moved up"},
    )


class Outbox:
    """A pipeline and a delivery loop over one repository and one clock."""

    def __init__(
        self,
        repository: Repository,
        channels: Sequence[ChannelConfig],
        clock: MovingClock | None = None,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        self.repository = repository
        self.clock = clock or MovingClock()
        ids = IdSource(self.clock.now_us)
        self.pipeline = AlertPipeline(repository, channels, self.clock, ids.new_id)
        sender = AlertSender(self.clock, timeout_s=timeout_s)
        self.loop = DeliveryLoop(repository, channels, self.clock, random.Random(1), sender=sender)

    def raise_(self, *changes: Change) -> list[Delivery]:
        """Take changes; return what waits then."""
        self.pipeline.handle(changes)
        return self.repository.pending_deliveries()

    def turn(self) -> int:
        """Deliver what is due."""
        return asyncio.run(self.loop.deliver_due())

    def after(self, seconds: float) -> int:
        """Move the clock, then deliver what is due."""
        self.clock.now_s += seconds
        return self.turn()
