"""Objectives in simulated time: an outage is found, luck is not."""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from monitors.slo.burn import BUDGET_S, MINUTE_S, WINDOWS_S, Burn, Memory, Tally, judge

MINUTE_US = MINUTE_S * 1_000_000
START_US = 1_790_000_000_000_000
LIMITS = (10, 3)


def tallies(n: int, bad: int, **by_window: Tally) -> dict[int, Tally]:
    """Return the same tally for every window, or its own by `w<seconds>`."""
    same = dict.fromkeys((*WINDOWS_S, BUDGET_S), Tally(n, bad))
    return same | {int(name[1:]): tally for name, tally in by_window.items()}


def simulate(
    minutes: int, traffic: Callable[[int], Tally], *, every: int = 1, objective: float = 0.99
) -> Iterator[Burn]:
    """Look every `every` minutes at traffic by minute; windows are whole minutes."""
    history: deque[Tally] = deque()
    windows = {s // MINUTE_S: Tally(0, 0) for s in (*WINDOWS_S, BUDGET_S)}
    memory = Memory()
    for minute in range(minutes):
        fresh = traffic(minute)
        history.append(fresh)
        for length, tally in windows.items():
            gone = history[-1 - length] if len(history) > length else Tally(0, 0)
            windows[length] = Tally(tally.n + fresh.n - gone.n, tally.bad + fresh.bad - gone.bad)
        if minute % every:
            continue
        seen = {length * MINUTE_S: tally for length, tally in windows.items()}
        found = judge(seen, objective, memory, at_us=START_US + minute * MINUTE_US, limits=LIMITS)
        memory = found.memory
        yield found


def test_one_failure_of_three_is_no_page() -> None:
    """So few requests say nothing: the state is `not enough data`."""
    found = judge(tallies(3, 1), 0.99, Memory(), at_us=START_US, limits=LIMITS)
    assert not found.memory.open
    assert not found.enough


def test_two_failures_of_twelve_are_no_page() -> None:
    """The rate is 16 times the budget, but luck at 14.4 times it gives as much."""
    found = judge(tallies(12, 2), 0.99, Memory(), at_us=START_US, limits=LIMITS)
    assert found.value == pytest.approx(2 / 12 / 0.01)
    assert not found.memory.open


def test_an_outage_is_critical_with_its_interval() -> None:
    """All failing since the start is a page after ten requests."""
    found = judge(tallies(10, 10), 0.99, Memory(), at_us=START_US, limits=LIMITS)
    assert found.memory.open
    assert found.memory.severity == "critical"
    assert found.interval.low < found.value <= found.interval.high
    assert found.budget_left == pytest.approx(1.0 - 1.0 / 0.01)


def test_an_outage_under_a_lax_objective_is_found_too() -> None:
    """14.4 times a budget of 10 % is more than everything: half of all is enough there."""
    found = judge(tallies(100, 90), 0.9, Memory(), at_us=START_US, limits=LIMITS)
    assert found.memory.severity == "critical"


def test_what_is_over_opens_nothing() -> None:
    """The long window burns, the short one does not any more."""
    seen = tallies(1000, 400, w300=Tally(80, 0), w1800=Tally(80, 0), w21600=Tally(80, 0))
    assert not judge(seen, 0.99, Memory(), at_us=START_US, limits=LIMITS).memory.open


def test_an_error_burst_is_found_within_minutes_and_ends_once() -> None:
    """An outage of 20 minutes after a good day: a page in 10 minutes, over within the hour."""
    rng = np.random.default_rng(3)
    day, outage = 1440, range(1440, 1460)

    def traffic(minute: int) -> Tally:
        share = 0.9 if minute in outage else 0.001
        return Tally(60, int(rng.binomial(60, share)))

    states = [found.memory for found in simulate(day + 600, traffic)]
    opened = [i for i in range(1, len(states)) if states[i].open and not states[i - 1].open]
    closed = [i for i in range(1, len(states)) if states[i - 1].open and not states[i].open]
    assert len(opened) == len(closed) == 1
    assert opened[0] - day <= 10
    assert states[opened[0]].severity == "critical"
    assert closed[0] - (day + 20) <= 60


def test_slow_burn_is_a_warning() -> None:
    """2 % failures under an objective of 99 % are found within three days."""
    rng = np.random.default_rng(4)
    states = [
        found.memory
        for found in simulate(3 * 1440, lambda _: Tally(5, int(rng.binomial(5, 0.02))), every=5)
    ]
    assert states[-1].open
    assert states[-1].severity == "warning"


@pytest.mark.parametrize("per_minute", [1, 30])
def test_steady_errors_below_the_objective_never_alert_in_30_days(per_minute: int) -> None:
    """0.5 % of failures under an objective of 99 %, looked at every five minutes."""
    minutes = 30 * 1440
    bad = np.random.default_rng(5).binomial(per_minute, 0.005, size=minutes).tolist()
    looks = simulate(minutes, lambda minute: Tally(per_minute, bad[minute]), every=5)
    assert not any(found.memory.open for found in looks)


def test_silence_is_no_recovery() -> None:
    """An outage that drove the clients away stays open as long as its window holds it."""
    open_ = Memory(open=True, severity="critical", page_at=START_US)
    seen = tallies(100, 100, w300=Tally(0, 0), w1800=Tally(0, 0))
    for _ in range(5):
        open_ = judge(seen, 0.99, open_, at_us=START_US, limits=LIMITS).memory
    assert open_.open
