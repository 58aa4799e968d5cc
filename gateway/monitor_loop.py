"""The control plane's watching side: looks at their times, verdicts to alerts and metrics."""

from collections.abc import Callable, Sequence

from gateway.config import Settings
from gateway.delivery import DeliveryLoop
from gateway.telemetry import Telemetry
from monitors.alerts.pipeline import AlertPipeline
from monitors.schedule import MonitorRun, next_run_at
from router.clock import Clock
from storage.records import Verdict
from storage.repository import Repository

_MAX_WAIT_S = 1.0
_CATCH_UP_S = 0.2
_CAUGHT_UP_BYTES = 1_048_576


def build_monitor(
    settings: Settings,
    repository: Repository,
    telemetry: Telemetry,
    clock: Clock,
    new_id: Callable[[], str],
) -> MonitorRun:
    """Compose the looks of a configuration with where their verdicts go."""
    pipeline = AlertPipeline(repository, settings.alerts, clock, new_id)

    def on_verdicts(verdicts: Sequence[Verdict]) -> None:
        telemetry.observe_verdicts(verdicts)
        pipeline.on_verdicts(verdicts)

    return MonitorRun(repository, settings.monitors, list(settings.routes), on_verdicts)


def is_caught_up(lag_bytes: int) -> bool:
    """Say whether the database is near enough to the present for a look."""
    return lag_bytes <= _CAUGHT_UP_BYTES


class MonitorWork:
    """One turn after the other, all in the monitor thread."""

    def __init__(
        self,
        monitor: MonitorRun,
        every_s: float,
        clock: Clock,
        *,
        delivery: DeliveryLoop,
        caught_up: Callable[[], bool],
    ) -> None:
        self._caught_up = caught_up
        self._clock = clock
        self._delivery = delivery
        self._monitor = monitor
        self._every_s = every_s
        self._due_at = next_run_at(clock.now_us(), every_s)

    def replace(self, monitor: MonitorRun, every_s: float) -> None:
        """Take over another configuration from the next look on."""
        self._monitor, self._every_s = monitor, every_s
        self._due_at = next_run_at(self._clock.now_us(), every_s)

    def turn(self) -> float:
        """Look if it is time; return the seconds to wait."""
        now_us = self._clock.now_us()
        # A look at rows that are still in the spool would take a part for the whole.
        if now_us >= self._due_at and not self._caught_up():
            return _CATCH_UP_S
        if now_us >= self._due_at:
            self._due_at = next_run_at(now_us, self._every_s)
            self._monitor.run_once(now_us)
            self._delivery.wake()
        return min(_MAX_WAIT_S, max(0.0, (self._due_at - self._clock.now_us()) / 1_000_000))
