import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.alert_kit import MovingClock
from support.watched_traffic import (
    DAY_US,
    HOUR_US,
    NOW,
    REFERENCE,
    START,
    STEP_US,
    Traffic,
    Watch,
    reference_traffic,
)

from monitors.alerts.pipeline import AlertPipeline
from monitors.config import MonitorsConfig
from monitors.episodes import EpisodeKey, EpisodeSeverity, episodes
from monitors.errors import BaselineInvalid
from monitors.references.choosing import CONFIGURED, SETTLE_US
from monitors.route_look import UNDECIDED
from monitors.schedule import MonitorRun, next_run_at, watched
from monitors.signals.table import OPTIONAL
from monitors.windows import Window
from storage.database import Database
from storage.records import Verdict


@pytest.fixture
def traffic(tmp_path: Path) -> Iterator[Traffic]:
    """Return traffic of a reference day: 3,000 rows of route `chat`."""
    made = reference_traffic(tmp_path, (3000, "primary"))
    yield made
    made.database.close()


@pytest.fixture
def database(traffic: Traffic) -> Database:
    """Return the log of the traffic."""
    return traffic.database


def test_the_reference_day_is_the_configured_one() -> None:
    """The period that these tests configure is the one their traffic fills."""
    assert START == 1_792_800_000_000_000


def test_undrifted_traffic_is_ok(database: Database, traffic: Traffic) -> None:
    """Every signal that the traffic has is judged; streams' times are missing and say so."""
    traffic.write(400, Window(NOW - HOUR_US, NOW))
    verdicts = Watch(database).look()
    # Of what much traffic has nothing of, this has the cache's outcome alone.
    every = {signal.name for signal in watched(MonitorsConfig())}
    assert set(verdicts) == every - OPTIONAL | {"cache"}
    without_streams = {"ttft_s", "time_per_output_token_s"}
    assert {verdicts[name] for name in without_streams} == {"not_enough_data"}
    assert {v for name, v in verdicts.items() if name not in without_streams} == {"ok"}


def test_longer_prompts_and_another_language_drift(database: Database, traffic: Traffic) -> None:
    """Only what changed is called drift."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0, german=0.7)
    verdicts = Watch(database).look()
    drifted = {name for name, verdict in verdicts.items() if verdict == "drift"}
    assert drifted == {"prompt_chars", "prompt_tokens", "language"}


def test_verdicts_are_saved_and_handed_on(database: Database, traffic: Traffic) -> None:
    """The receiver gets what the log holds."""
    traffic.write(100, Window(NOW - HOUR_US, NOW))
    watch = Watch(database)
    verdicts = watch.monitor.run_once(NOW)
    assert watch.received == [verdicts]
    saved = watch.repository.latest_verdicts("chat", "drift")
    assert sorted(v.id for v in saved) == sorted(v.id for v in verdicts)
    assert {v.baseline for v in saved} == {f"{CONFIGURED}@1"}
    assert {(v.window_from, v.window_to) for v in saved} == {(NOW - HOUR_US, NOW)}


def test_rows_outside_the_window_do_not_count(database: Database, traffic: Traffic) -> None:
    """Neither older rows, nor later ones, nor shadows, nor other routes."""
    traffic.write(100, Window(NOW - HOUR_US, NOW))
    traffic.write(300, Window(NOW - 3 * HOUR_US, NOW - HOUR_US), longer=5.0)
    traffic.write(300, Window(NOW, NOW + HOUR_US), longer=5.0)
    traffic.write(300, Window(NOW - HOUR_US, NOW), longer=5.0, role="shadow")
    traffic.write(300, Window(NOW - HOUR_US, NOW), longer=5.0, route="other")
    watch = Watch(database)
    found = {v.feature: v for v in watch.monitor.run_once(NOW)}["prompt_chars"]
    assert (found.verdict, found.n_current, found.n_reference) == ("ok", 100, 3000)


def test_a_quiet_hour_is_stale(database: Database, traffic: Traffic) -> None:
    """No row at all is another answer than a few."""
    assert set(Watch(database).look().values()) == {"stale"}


def test_without_a_baseline_there_are_no_verdicts(database: Database, traffic: Traffic) -> None:
    """The statistics say which route waits, and how to set a baseline."""
    watch = Watch(database, baseline=None)
    assert watch.monitor.run_once(NOW) == []
    statistics = watch.monitor.statistics()
    assert (statistics.looks, statistics.verdicts, statistics.last_at) == (1, 0, NOW)
    assert "monitor baseline set" in statistics.waiting["chat"]


def test_the_configured_baseline_waits_for_its_end(database: Database, traffic: Traffic) -> None:
    """Before its period has passed nothing is compared; after it the baseline is built once."""
    watch = Watch(database)
    settled = REFERENCE.to_us + SETTLE_US
    assert watch.look(settled - 1) == {}
    assert "2026-10-25T00:00:00Z" in watch.monitor.statistics().waiting["chat"]
    for step in range(3):
        assert watch.look(settled + step * STEP_US)
    baselines = watch.repository.load_baselines("chat")
    assert [(b.name, b.version, b.rows) for b in baselines] == [(CONFIGURED, 1, 3000)]
    assert watch.monitor.statistics().waiting == {}


def test_another_period_is_another_version(database: Database, traffic: Traffic) -> None:
    """A changed configuration adds a version; the old one stays."""
    Watch(database).look()
    shorter = {"from": "2026-10-24T00:00:00Z", "to": "2026-10-24T12:00:00Z"}
    watch = Watch(database, baseline=shorter)
    watch.look(NOW + STEP_US)
    found = [(b.version, b.rows) for b in watch.repository.load_baselines("chat")]
    assert found == [(1, 3000), (2, 1500)]
    assert {v.baseline for v in watch.received[0]} == {f"{CONFIGURED}@2"}


def test_a_baseline_set_by_hand_takes_over(database: Database, traffic: Traffic) -> None:
    """The one set last is compared with."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    watch = Watch(database)
    assert watch.look()["prompt_chars"] == "drift"
    made = watch.monitor.set_baseline("after", "chat", Window(NOW - HOUR_US, NOW), NOW)
    assert (made.version, made.rows) == (1, 400)
    assert watch.look(NOW + STEP_US)["prompt_chars"] == "ok"


def test_a_baseline_set_by_hand_serves_where_the_configured_one_is_empty(
    database: Database, traffic: Traffic
) -> None:
    """A configured period without traffic does not stop what works."""
    traffic.write(100, Window(NOW - HOUR_US, NOW))
    empty = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    watch = Watch(database, baseline=empty)
    assert watch.look() == {}
    watch.monitor.set_baseline("day", "chat", REFERENCE, NOW)
    assert watch.look(NOW + STEP_US)["latency_s"] == "ok"


def test_a_baseline_that_takes_a_dropped_ones_name_is_read_anew(
    database: Database, traffic: Traffic
) -> None:
    """What was dropped is compared with no more, though name and version are the same."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    watch = Watch(database, baseline=None)
    watch.monitor.set_baseline("mine", "chat", Window(NOW - HOUR_US, NOW), NOW)
    assert watch.look()["prompt_chars"] == "ok"
    assert watch.repository.drop_baseline("chat", "mine") == 1
    watch.monitor.set_baseline("mine", "chat", REFERENCE, NOW + 1)
    assert watch.look(NOW + STEP_US)["prompt_chars"] == "drift"


def test_a_baseline_of_nothing_is_refused(database: Database, traffic: Traffic) -> None:
    """An empty window makes no baseline, and leaves none behind."""
    watch = Watch(database)
    with pytest.raises(BaselineInvalid, match="has 0 rows"):
        watch.monitor.set_baseline("empty", "chat", Window(NOW, NOW + HOUR_US), NOW)
    assert watch.repository.load_baselines("chat") == []


def test_a_route_without_traffic_does_not_stop_the_others(
    database: Database, traffic: Traffic
) -> None:
    """Each route has its own reason to wait."""
    traffic.write(100, Window(NOW - HOUR_US, NOW))
    watch = Watch(database, routes=("quiet", "chat"))
    assert {v.route for v in watch.monitor.run_once(NOW)} == {"chat"}
    assert set(watch.monitor.statistics().waiting) == {"quiet"}


def test_disabled_features_are_not_watched(database: Database, traffic: Traffic) -> None:
    """They neither give verdicts nor spend any of the budget."""
    traffic.write(100, Window(NOW - HOUR_US, NOW))
    off = {name: {"enabled": False} for name in ("latency_s", "prompt_tokens")}
    few = Watch(database, features=off).monitor.run_once(NOW)
    every = Watch(database).monitor.run_once(NOW)
    assert not {v.feature for v in few} & set(off)
    alphas = [
        next(v for v in vs if v.feature == "language").details["alpha"] for vs in (few, every)
    ]
    # Of one false alarm a month drift has 80 %, of which its fixed-window test has a tenth.
    assert alphas == [pytest.approx(0.08 / (8640 * 9)), pytest.approx(0.08 / (8640 * 11))]


def test_a_disabled_monitor_does_nothing(database: Database, traffic: Traffic) -> None:
    """`monitors.enabled: false` reads and writes nothing."""
    watch = Watch(database, enabled=False)
    assert watch.look() == {}
    assert watch.received == []


def test_an_episode_opens_and_ends_over_a_restart(database: Database, traffic: Traffic) -> None:
    """What a look must remember is in the log, so that a new process goes on where one stopped."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    open_now: dict[EpisodeKey, EpisodeSeverity] = {}
    kinds = []
    for step in range(6):
        now = NOW + step * HOUR_US
        if step:
            traffic.write(400, Window(now - HOUR_US, now))
        watch = Watch(database)
        for change in episodes(open_now, watch.monitor.run_once(now)):
            kinds.append((step, change.kind))
            open_now[change.route, change.subject] = change.severity
            if change.kind == "drift.resolved":
                open_now.clear()
    assert kinds == [(0, "drift.opened"), (3, "drift.resolved")]


def piped(database: Database, watch: Watch) -> AlertPipeline:
    """Return a pipeline over the watched log."""
    numbers = count()
    name = str(id(watch))
    return AlertPipeline(watch.repository, (), MovingClock(), lambda: f"{name}-{next(numbers):04}")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"routes": ("other",)}, "the configuration has no such route"),
        ({"enabled": False}, "`monitors.enabled` is false"),
        ({"baseline": None}, "has no baseline"),
    ],
)
def test_an_alert_on_what_is_compared_no_more_ends(
    database: Database, traffic: Traffic, options: dict[str, Any], why: str
) -> None:
    """After a reload or a restart nothing else would end it; one last verdict says why."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    before = Watch(database)
    before.look()
    piped(database, before).on_verdicts(before.received[0])
    (alert,) = before.repository.open_alerts()
    if "baseline" in options:
        before.repository.drop_baseline("chat", CONFIGURED)
    after = Watch(database, **options)
    assert set(after.look(NOW + STEP_US).values()) == {"stale"}
    piped(database, after).on_verdicts(after.received[0])
    ended = after.repository.load_alert(alert.id)
    assert ended is not None
    assert ended.state == "resolved"
    assert why in ended.summary
    again = Watch(database, **options)
    assert (after.look(NOW + 2 * STEP_US), again.look(NOW + 3 * STEP_US)) == ({}, {})


def test_endings_that_were_not_taken_are_handed_on_again(
    database: Database, traffic: Traffic
) -> None:
    """A crash between the last verdict and the end of its alert loses neither."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    Watch(database).look()
    crashed = Watch(database, routes=())

    def crash(_: list[Verdict]) -> None:
        raise RuntimeError("killed")

    crashed.monitor = MonitorRun(crashed.repository, MonitorsConfig(), (), crash)
    with pytest.raises(RuntimeError, match="killed"):
        crashed.look(NOW + STEP_US)
    watch = Watch(database, routes=())
    watch.look(NOW + 2 * STEP_US)
    assert {v.verdict for v in watch.received[0]} == {"stale"}


def test_a_feature_that_is_watched_again_starts_anew(database: Database, traffic: Traffic) -> None:
    """An episode from before it was switched off does not count: the look is calm, so it is ok."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    assert Watch(database).look()["prompt_chars"] == "drift"
    off = {name: {"enabled": False} for name in ("prompt_chars", "prompt_tokens")}
    assert Watch(database, features=off).look(NOW + STEP_US)["prompt_chars"] == "stale"
    later = NOW + DAY_US
    traffic.write(400, Window(later - HOUR_US, later))
    assert Watch(database).look(later)["prompt_chars"] == "ok"


def test_a_feature_that_is_switched_off_does_not_end_what_others_hold_open(
    database: Database, traffic: Traffic
) -> None:
    """The route's alert goes on with the features that still drift."""
    traffic.write(400, Window(NOW - HOUR_US, NOW), longer=2.0)
    before = Watch(database)
    before.look()
    piped(database, before).on_verdicts(before.received[0])
    after = Watch(database, features={"prompt_chars": {"enabled": False}})
    after.look(NOW + STEP_US)
    piped(database, after).on_verdicts(after.received[0])
    (alert,) = after.repository.open_alerts()
    assert "`prompt_tokens`" in alert.summary
    assert "`prompt_chars`" not in alert.summary


def test_looks_from_several_threads_come_one_after_the_other(
    database: Database, traffic: Traffic
) -> None:
    """The receiver sees whole looks, and the baseline is built once."""
    traffic.write(100, Window(NOW - HOUR_US, NOW))
    watch = Watch(database)
    times = [NOW + step * STEP_US for step in range(4)]
    threads = [threading.Thread(target=watch.monitor.run_once, args=(at,)) for at in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.monitor.statistics().looks == 4
    assert sorted(verdicts[0].at for verdicts in watch.received) == times
    assert len(watch.repository.load_baselines("chat")) == 1


@pytest.mark.parametrize(
    ("now_us", "expected"),
    [(0, STEP_US), (STEP_US - 1, STEP_US), (STEP_US, 2 * STEP_US), (9 * STEP_US + 5, 10 * STEP_US)],
)
def test_looks_lie_on_a_grid(now_us: int, expected: int) -> None:
    """A look is due at the next multiple of the interval; missed ones are not made up for."""
    assert next_run_at(now_us, 300.0) == expected


def test_a_verdict_that_counts_leave_open_says_so(database: Database, traffic: Traffic) -> None:
    """Once the rows of a window are gone, what they would have decided stays undecided."""
    traffic.write(300, Window(NOW - HOUR_US, NOW), same=True)
    watch = Watch(database)
    assert watch.look()
    with database.cursor() as connection:
        connection.execute("DELETE FROM log_state WHERE name = 'facts_from'")
        connection.execute("INSERT INTO log_state VALUES ('facts_from', ?)", [NOW])
    found = {v.feature: v.details for v in watch.monitor.run_once(NOW + STEP_US)}
    assert found["latency_s"]["undecided"] == UNDECIDED
    assert "undecided" not in found["language"]
