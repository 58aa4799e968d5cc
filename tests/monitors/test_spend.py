"""Spending in simulated weeks and over a real log: rhythm is no anomaly, a runaway is one."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.empty_log import open_empty_log
from support.watch_kit import MINUTE_US, NOW, Watch

from monitors.spend.hours import Hour, Least, beside
from monitors.spend.run import SpendRun
from monitors.spend.usage import SETTLE_US, last_hour
from storage.database import Database
from storage.times import DAY_US, HOUR_US

ALPHA = 0.1 / (720 * 3)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty prediction log."""
    opened = open_empty_log(tmp_path, now_us=lambda: NOW)
    yield opened
    opened.close()


def simulated(days: int, rng: np.random.Generator, *, weekend: float) -> list[float]:
    """Return the requests of each hour: a cycle by day, another level at weekends, and luck."""
    hours = []
    for hour in range(days * 24):
        level = 600.0 * (1.2 + math.sin(hour % 24 / 24 * 2 * math.pi))
        level *= weekend if hour // 24 % 7 >= 5 else 1.0
        hours.append(float(rng.poisson(level * rng.lognormal(0.0, 0.1))))
    return hours


def looks(hours: list[float]) -> list[Hour | None]:
    """Look at every hour beside the same hour of up to 28 earlier days."""
    found = []
    for at, now in enumerate(hours):
        before = hours[at % 24 : at : 24][-28:]
        rows = sorted(before)[len(before) // 2] if before else 1.0
        # What is below the ratio that matters is no anomaly, whatever else is known.
        is_high = bool(before) and now > 2.0 * max(rows, 50.0)
        found.append(beside(now, before, Least(50.0, rows), ALPHA) if is_high else None)
    return found


@pytest.mark.parametrize("weekend", [1.0, 0.2, 3.0])
def test_rhythm_never_alerts(weekend: float) -> None:
    """Forty days of a daily cycle, with quiet or busy weekends or none, in four services."""
    for seed in range(4):
        hours = simulated(40, np.random.default_rng(seed), weekend=weekend)
        assert not [h for h in looks(hours) if h is not None and h.stands_out(2.0)]


@pytest.mark.parametrize(("days", "factor"), [(3, 90.0), (8, 12.0), (28, 3.5)])
def test_a_runaway_stands_out_the_sooner_the_more_days_there_are(days: int, factor: float) -> None:
    """Three days know little; after four weeks 3.5 times the usual is enough."""
    rng = np.random.default_rng(days)
    earlier = [600.0 * float(rng.lognormal(0.0, 0.1)) for _ in range(days)]
    found = beside(600.0 * factor, earlier, Least(50.0, 600.0), ALPHA)
    assert found is not None
    assert found.stands_out(2.0)
    assert found.low < found.ratio < found.high
    less = beside(600.0 * 1.5, earlier, Least(50.0, 600.0), ALPHA)
    assert less is not None
    assert not less.stands_out(2.0)


def test_two_days_say_nothing() -> None:
    """Below three earlier days there is no usual hour."""
    assert beside(1e6, [1.0, 1.0], Least(50.0, 100.0), ALPHA) is None


def test_a_handful_of_requests_is_no_anomaly() -> None:
    """Forty requests after weeks of one are less than what is asked for."""
    found = beside(40.0, [1.0] * 28, Least(50.0, 50.0), ALPHA)
    assert found is not None
    assert not found.stands_out(2.0)


def test_the_hour_is_whole_and_settled() -> None:
    """Two minutes into an hour its predecessor is looked at, not before."""
    hour = NOW // HOUR_US * HOUR_US
    assert last_hour(hour + SETTLE_US).to_us == hour
    assert last_hour(hour + SETTLE_US - 1).to_us == hour - HOUR_US


def test_a_runaway_hour_is_one_alert(database: Database) -> None:
    """Ten days of 60 requests an hour, then 1,500: one alert names all measures, and it ends."""
    watch = Watch(database, SpendRun)
    watch.clock.us = NOW // HOUR_US * HOUR_US + SETTLE_US
    hour = last_hour(watch.clock.us)
    for day in range(10):
        watch.write(60, at=hour.from_us - (day + 1) * DAY_US)
    watch.write(1500, at=hour.from_us)
    found = watch.look()
    assert {name for (route, name), v in found.items() if v.verdict == "breach"} == {
        "cost_usd",
        "tokens",
        "requests",
    }
    assert found["chat", "cost_usd"].value == pytest.approx(25.0)
    assert found["other", "cost_usd"].verdict == "not_enough_data"
    assert "cost 1.5 USD" in str(found["chat", "cost_usd"].details["cause"])
    assert watch.open_alerts == [("spend", "chat", "hour", "critical")]
    assert watch.look(minutes=5) == {}
    assert watch.open_alerts != []
    watch.look(minutes=60)
    assert watch.open_alerts == []


def test_a_cap_warns_and_then_is_critical_until_the_day_is_over(database: Database) -> None:
    """From 80 % on it is a warning, at the cap critical, at midnight over."""
    watch = Watch(database, SpendRun, spend={"usd_per_day": 1.0, "routes": {"chat": {}}})
    watch.clock.us = NOW // DAY_US * DAY_US + 600 * MINUTE_US
    watch.write(700)
    assert watch.look()["*", "usd_per_day"].verdict == "ok"
    watch.write(200, route="other")
    found = watch.look(minutes=5)["*", "usd_per_day"]
    assert (found.verdict, found.severity) == ("breach", "warning")
    assert found.value == pytest.approx(0.9)
    watch.write(200, cost_usd=None)
    watch.write(200)
    found = watch.look(minutes=5)["*", "usd_per_day"]
    assert (found.severity, found.threshold, found.high) == ("critical", 1.0, None)
    assert "the cost of 200 of 1,300 requests is unknown" in str(found.details["cause"])
    assert watch.open_alerts == [("spend", "*", "usd_per_day", "critical")]
    watch.look(minutes=24 * 60)
    assert watch.open_alerts == []


def test_what_is_switched_off_leaves_nothing_open(database: Database) -> None:
    """A cap that is taken out of the configuration ends its alert."""
    watch = Watch(database, SpendRun, spend={"tokens_per_day": 100})
    watch.clock.us = NOW // DAY_US * DAY_US + 600 * MINUTE_US
    watch.write(10)
    watch.look()
    assert watch.open_alerts == [("spend", "*", "tokens_per_day", "critical")]
    watch.start(spend={"enabled": False})
    watch.look(minutes=5)
    assert watch.open_alerts == []
