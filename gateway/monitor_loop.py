"""The control plane's watching side: looks at their times, verdicts to alerts and metrics.

Every monitor is a run with its own period; one that fails never stops the others.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.config import Settings
from gateway.delivery import DeliveryLoop
from gateway.telemetry import Telemetry
from monitors.alerts.pipeline import AlertPipeline
from monitors.episodes import Change
from monitors.performance.run import EVERY_S, PerformanceRun
from monitors.quality.run import QualityRun
from monitors.schedule import MonitorRun, next_run_at
from monitors.slo.run import SloRun
from monitors.spend.run import SpendRun
from router.clock import Clock
from storage.records import Verdict
from storage.repository import Repository

log = logging.getLogger(__name__)

_MAX_WAIT_S = 1.0
_CATCH_UP_S = 0.2
_CAUGHT_UP_BYTES = 1_048_576
_SLO_EVERY_S = 60.0


class Run(Protocol):
    """A monitor's look."""

    def run_once(self, now_us: int) -> object:
        """Look at what the log holds up to a time, save verdicts, hand them on."""
        ...


class Planned(NamedTuple):
    """A monitor and when it looks.

    Attributes
    ----------
    is_urgent : bool
        While the ingest lags it looks all the same, at the time up to which the log is complete;
        the others wait.
    """

    name: str
    run: Run
    every_s: float
    is_urgent: bool = False


class Monitors(NamedTuple):
    """The monitors of a configuration; `drift` is also asked by the API."""

    drift: MonitorRun
    planned: tuple[Planned, ...]


def build_monitors(
    settings: Settings,
    repository: Repository,
    telemetry: Telemetry,
    clock: Clock,
    new_id: Callable[[], str],
) -> Monitors:
    """Compose the looks of a configuration with where their verdicts go."""
    config, routes = settings.monitors, list(settings.routes)
    pipeline = AlertPipeline(repository, settings.alerts, clock, new_id)

    def on_verdicts(verdicts: Sequence[Verdict]) -> None:
        telemetry.observe_verdicts(verdicts)
        pipeline.on_verdicts(verdicts)

    def on_look(verdicts: Sequence[Verdict], changes: Sequence[Change]) -> None:
        telemetry.observe_breaches(verdicts)
        pipeline.handle(changes)

    drift = MonitorRun(repository, config, routes, on_verdicts)
    every_s = config.every
    planned = (
        Planned("drift", drift, every_s),
        Planned(
            "slo",
            SloRun(repository, config, routes, on_look),
            min(every_s, _SLO_EVERY_S),
            is_urgent=True,
        ),
        Planned("quality", QualityRun(repository, config, routes, on_look), every_s),
        Planned("spend", SpendRun(repository, config, routes, on_look), every_s),
        Planned(
            "performance",
            PerformanceRun(repository, config, routes, on_look),
            max(every_s, EVERY_S),
        ),
    )
    return Monitors(drift, planned)


def is_caught_up(lag_bytes: int) -> bool:
    """Say whether the database is near enough to the present for a look."""
    return lag_bytes <= _CAUGHT_UP_BYTES


class MonitorWork:
    """One turn after the other, all in the monitor thread.

    Parameters
    ----------
    caught_up : callable
        Says whether the database is near enough to the present for a look.
    """

    def __init__(
        self,
        monitors: Monitors,
        clock: Clock,
        *,
        delivery: DeliveryLoop,
        caught_up: Callable[[], bool],
    ) -> None:
        self._caught_up = caught_up
        self._clock = clock
        self._delivery = delivery
        self._complete_to = 0
        self._looked_to: dict[str, int] = {}
        self._failed: Exception | None = None
        self.replace(monitors)

    def replace(self, monitors: Monitors) -> None:
        """Take over another configuration from the next looks on."""
        now_us = self._clock.now_us()
        due = {one.name: next_run_at(now_us, one.every_s) for one in monitors.planned}
        self._plan = (monitors.planned, due)

    def turn(self) -> float:
        """Look if it is time; return the seconds to wait.

        What a monitor raises is raised once the others have looked; it looks again when it is due.
        """
        now_us = self._clock.now_us()
        is_complete = self._caught_up()
        if is_complete:
            self._complete_to = now_us
        planned, due = self._plan
        for one in planned:
            # A clock that was set back would else be waited for.
            due[one.name] = min(due[one.name], next_run_at(now_us, one.every_s))
            # A look at rows that are still in the spool would take a part for the whole.
            if now_us < due[one.name] or not (is_complete or self._may_look_back(one)):
                continue
            due[one.name] = next_run_at(now_us, one.every_s)
            self._look(one)
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        next_at = min(due.values(), default=now_us)
        wait_s = (next_at - self._clock.now_us()) / 1_000_000
        return min(_MAX_WAIT_S, max(0.0 if is_complete else _CATCH_UP_S, wait_s))

    def _may_look_back(self, one: Planned) -> bool:
        return one.is_urgent and self._complete_to != self._looked_to.get(one.name, 0)

    def _look(self, one: Planned) -> None:
        self._looked_to[one.name] = self._complete_to
        try:
            one.run.run_once(self._complete_to)
        except Exception as error:  # the scheduler loop: the others have their turn
            # The thread's loop logs and counts the first one.
            if self._failed is not None:
                log.exception("the monitor of %s failed; it looks again later", one.name)
            self._failed = self._failed or error
        self._delivery.wake()
