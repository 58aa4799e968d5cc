"""The monitor thread's turns: each monitor at its own time, none held up by another."""

import random
from pathlib import Path

import pytest
from support.empty_log import open_empty_log
from support.telemetry_feed import settings_of
from support.watch_kit import MINUTE_US, NOW, SetClock

from gateway.delivery import DeliveryLoop
from gateway.monitor_loop import Monitors, MonitorWork, Planned, build_monitors
from gateway.telemetry import Telemetry
from monitors.config import MonitorsConfig
from monitors.schedule import MonitorRun
from storage.repository import Repository

START = NOW // (5 * MINUTE_US) * 5 * MINUTE_US + 1


class Looked:
    """A monitor that notes when it looks, and may fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.at: list[int] = []

    def run_once(self, now_us: int) -> None:
        """Note the time."""
        self.at.append(now_us)
        if self.fails:
            raise ZeroDivisionError("this monitor fails")


class Thread:
    """A monitor thread's work over two monitors, turned by hand."""

    def __init__(self, data_dir: Path, *, fails: bool = False) -> None:
        self.clock = SetClock(START)
        self.database = open_empty_log(data_dir, now_us=self.clock.now_us)
        repository = Repository(self.database)
        self.slow, self.fast = Looked(fails=fails), Looked()
        drift = MonitorRun(repository, MonitorsConfig(), [], lambda _: None)
        planned = (
            Planned("slow", self.slow, 300.0),
            Planned("fast", self.fast, 60.0, is_urgent=True),
        )
        self.is_caught_up = True
        delivery = DeliveryLoop(repository, (), self.clock, random.Random(1))
        self.work = MonitorWork(
            Monitors(drift, planned),
            self.clock,
            delivery=delivery,
            caught_up=lambda: self.is_caught_up,
        )

    def turn(self, *, minutes: int = 0) -> float:
        """Let time pass, and turn."""
        self.clock.us += minutes * MINUTE_US
        return self.work.turn()


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    """Return work over an empty log."""
    return Thread(tmp_path)


def test_each_monitor_looks_at_its_own_times(thread: Thread) -> None:
    """Ten minutes: two looks of one, ten of the other, never twice at a time."""
    for _ in range(10):
        assert 0.0 <= thread.turn(minutes=1) <= 1.0
        thread.turn()
    assert len(thread.slow.at) == 2
    assert len(thread.fast.at) == 10


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """The failure reaches the loop, which counts it, after the others have looked."""
    thread = Thread(tmp_path, fails=True)
    with pytest.raises(ZeroDivisionError):
        thread.turn(minutes=5)
    assert thread.fast.at == [thread.clock.us]
    thread.turn()
    assert len(thread.slow.at) == 1


def test_while_the_ingest_lags_only_the_urgent_look_and_only_at_what_is_complete(
    thread: Thread,
) -> None:
    """The objectives' windows end where the log was last complete; the others wait for it."""
    thread.turn()
    complete_to = thread.clock.us
    thread.is_caught_up = False
    thread.turn(minutes=5)
    assert thread.slow.at == []
    thread.turn(minutes=5)
    assert thread.fast.at == [complete_to]
    thread.is_caught_up = True
    thread.turn()
    assert thread.slow.at == [thread.clock.us]


def test_a_clock_that_is_set_back_is_not_waited_for(thread: Thread) -> None:
    """Looks go on at the times of the new clock."""
    thread.turn(minutes=5)
    thread.turn(minutes=-24 * 60)
    thread.turn(minutes=5)
    assert [len(thread.slow.at), len(thread.fast.at)] == [2, 2]


def test_nothing_is_looked_at_before_the_log_was_ever_complete(thread: Thread) -> None:
    """After a start with a long way to catch up there is no time to look at."""
    thread.is_caught_up = False
    thread.turn(minutes=5)
    assert thread.fast.at == []


def test_the_monitors_of_a_configuration_have_distinct_names(tmp_path: Path) -> None:
    """Drift, objectives, quality, spending and performance, each with a period of its own."""
    thread = Thread(tmp_path)
    settings = settings_of()
    repository = Repository(thread.database)
    built = build_monitors(settings, repository, Telemetry(settings), thread.clock, lambda: "id")
    names = ["drift", "slo", "quality", "spend", "performance"]
    assert [one.name for one in built.planned] == names
    assert built.planned[0].run is built.drift
