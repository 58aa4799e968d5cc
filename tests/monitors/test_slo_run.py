"""Objectives over a real prediction log: what counts, what is alerted, what survives a restart."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.empty_log import open_empty_log
from support.watch_kit import MINUTE_US, NOW, Watch

from monitors.slo.counting import start_of, stretches
from monitors.slo.run import SloRun
from storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty prediction log."""
    opened = open_empty_log(tmp_path, now_us=lambda: NOW)
    yield opened
    opened.close()


def watch_of(database: Database, **options: Any) -> Watch:
    """Return objectives over a database."""
    return Watch(database, SloRun, **options)


FAILED: dict[str, Any] = {"status": 502, "reason": "upstream_unreachable"}


def test_an_outage_alerts_without_configuration_and_is_resolved(database: Database) -> None:
    """The default objective is one on every route; an outage opens one alert, quiet ends it."""
    watch = watch_of(database)
    watch.write(100)
    watch.write(60, **FAILED)
    found = watch.look()["chat", "errors"]
    assert (found.verdict, found.severity, found.statistic) == ("breach", "critical", "burn_rate")
    assert found.value == pytest.approx(60 / 160 / 0.01)
    assert found.low is not None
    assert found.value is not None
    assert found.low < found.value
    assert "60 of 160 requests failed in 1 h" in str(found.details["cause"])
    assert watch.open_alerts == [("slo", "chat", "errors", "critical")]
    for _ in range(6):
        watch.clock.us += 10 * MINUTE_US
        watch.write(100)
        watch.look()
    assert watch.open_alerts == []


def test_an_outage_without_requests_ends_for_want_of_data(database: Database) -> None:
    """Six hours without one: the alert is resolved, and says that nobody saw it recover."""
    watch = watch_of(database)
    watch.write(60, **FAILED)
    watch.look()
    (opened,) = watch.repository.open_alerts()
    watch.clock.us += 7 * 60 * MINUTE_US
    for _ in range(3):
        watch.look(minutes=1)
    ended = watch.repository.load_alert(opened.id)
    assert ended is not None
    assert (ended.state, ended.data.get("no_data")) == ("resolved", True)
    assert "no recovery was seen: no data, fewer than 10 requests" in ended.summary


def test_client_faults_never_count(database: Database) -> None:
    """4xx and clients that left are no failures, and no requests either; our 429 are."""
    watch = watch_of(database)
    watch.write(100, status=404, reason="upstream_rejected")
    watch.write(100, status=200, reason="client_closed")
    watch.write(20)
    watch.write(3, status=429, reason="upstream_limited")
    found = watch.look()["chat", "errors"]
    assert (found.n_current, found.details["bad"]) == (23, 3)
    assert found.details["limit_s"] is None  # No time makes an error.


def test_slow_answers_burn_a_latency_objective(database: Database) -> None:
    """Answers beyond the limit are bad, those in its bucket are good; the default stays."""
    slos = {"quick": {"route": "chat", "latency_s": 2.0, "objective": 0.9}}
    watch = watch_of(database, slos=slos)
    watch.write(20, latency_s=0.5)
    watch.write(20, latency_s=2.0)
    watch.write(80, latency_s=2.1)
    found = watch.look()
    assert set(found) == {("chat", "errors"), ("other", "errors"), ("chat", "quick")}
    assert (found["chat", "quick"].n_current, found["chat", "quick"].details["bad"]) == (120, 80)
    assert watch.open_alerts == [("slo", "chat", "quick", "critical")]


def test_an_objective_of_a_variant_sees_no_other(database: Database) -> None:
    """The candidate fails, and only its own objective says so."""
    slos = {"canary": {"variant": "candidate"}, "errors": {"enabled": False}}
    watch = watch_of(database, slos=slos)
    watch.write(400)
    watch.write(20, variant="candidate", **FAILED)
    found = watch.look()["chat", "canary"]
    assert (found.segment, found.n_current) == ("variant=candidate", 20)
    assert watch.open_alerts == [("slo", "chat", "canary (variant=candidate)", "critical")]


def test_a_restart_forgets_nothing(database: Database) -> None:
    """What is open stays open, and the alert is the same."""
    watch = watch_of(database)
    watch.write(60, **FAILED)
    watch.look()
    before = watch.repository.open_alerts()[0].id
    watch.start()
    assert watch.look(minutes=1)["chat", "errors"].verdict == "breach"
    assert [alert.id for alert in watch.repository.open_alerts()] == [before]


def test_an_objective_that_is_switched_off_leaves_nothing_open(database: Database) -> None:
    """Its last verdict says why, and its alert is resolved."""
    watch = watch_of(database)
    watch.write(60, **FAILED)
    watch.look()
    watch.start(slos={"errors": {"enabled": False}})
    last = watch.look(minutes=1)["chat", "errors"]
    assert last.details["ended"] == "the configuration has no such objective"
    assert watch.open_alerts == []
    assert watch.look(minutes=1) == {}


def test_rows_are_written_when_they_say_something_new(database: Database) -> None:
    """Looks of every minute that repeat each other leave a row in five minutes."""
    watch = watch_of(database)
    watch.write(20)
    for _ in range(10):
        watch.look(minutes=1)
    rows = watch.repository.verdicts_between(0, 2 * NOW, route="chat")
    assert len(rows) == 2


def test_nothing_is_counted_where_nothing_came(database: Database) -> None:
    """A route without requests is `stale`, not good."""
    found = watch_of(database).look()["other", "errors"]
    assert (found.verdict, found.value, found.n_current) == ("stale", None, 0)


def test_stretches_touch_and_end_now() -> None:
    """Together they are 30 days and a bit, cut where windows start."""
    found = stretches(NOW)
    assert found[0].to_us == NOW
    assert all(a.from_us == b.to_us for a, b in pairwise(found))
    assert found[-1].from_us == start_of(NOW, 30 * 86_400) <= NOW - 30 * 86_400_000_000
