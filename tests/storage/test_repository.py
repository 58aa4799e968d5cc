import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.empty_log import open_empty_log
from support.log_records import NOW, SECOND, end_of, now_us, signals_of

from storage.archive.facts import FactArchive
from storage.config import RetentionConfig
from storage.errors import StorageError
from storage.lifecycle.retention import Retention
from storage.monitor_records import Detector, Silence
from storage.records import Alert, Baseline, Delivery, Verdict
from storage.repository import Repository
from storage.text.archive import TextArchive
from storage.writer import Batch, write_batch

VERDICT = Verdict(
    id="v1",
    at=NOW,
    monitor="drift",
    route="chat",
    feature="prompt_chars",
    kind="numeric",
    verdict="drift",
    severity="warning",
    statistic="psi",
    value=0.31,
    low=0.2,
    high=None,
    threshold=0.1,
    n_reference=5_000,
    n_current=400,
    window_from=NOW - 60 * SECOND,
    window_to=NOW,
    baseline="week-44",
    details={"psi": 0.31, "cells": [1, 2]},
)
BASELINE = Baseline("week", 1, NOW, NOW - 10, NOW, "chat", 10, {"prompt_chars": {"edges": [1.5]}})
ALERT = Alert("a1", "drift", "chat", "2 features", "open", "warning", NOW, NOW, None, "s", {"n": 1})
DELIVERY = Delivery("d1", "a1", "drift.opened", "hook", b"\x00{}", "pending", NOW, NOW)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


def test_a_verdict_comes_back_as_it_was(repository: Repository) -> None:
    """Times, numbers, None and details survive the table."""
    repository.save_verdicts([VERDICT])
    assert repository.verdicts_between(NOW, NOW + 1) == [VERDICT]
    assert repository.verdicts_between(NOW + 1, NOW + 2) == []


def test_the_latest_verdict_of_each_feature(repository: Repository) -> None:
    """Older looks are left out, other features and routes are not."""
    newer = msgspec.structs.replace(VERDICT, id="v2", at=NOW + 5, verdict="ok")
    other = msgspec.structs.replace(VERDICT, id="v3", feature="language")
    elsewhere = msgspec.structs.replace(VERDICT, id="v4", route="code")
    repository.save_verdicts([VERDICT, newer, other, elsewhere])
    assert [v.id for v in repository.latest_verdicts("chat", "drift")] == ["v3", "v2"]
    assert len(repository.latest_verdicts()) == 3


def test_a_new_baseline_is_numbered_where_it_is_written(repository: Repository) -> None:
    """No two of a name share a version; heads tell them apart without their cells."""
    made = [repository.add_baseline(BASELINE) for _ in range(3)]
    assert [one.version for one in made] == [1, 2, 3]
    assert made[2] == repository.load_baseline("chat", "week", 3)
    heads = repository.baseline_heads("chat")
    assert heads == [msgspec.structs.replace(one, cells={}) for one in made]
    assert repository.drop_baseline("chat", "week", before_version=3) == 2
    assert repository.load_baselines("chat") == made[2:]
    assert repository.load_baseline("chat", "week", 1) is None


def test_baselines_keep_every_version(repository: Repository) -> None:
    """A new version stands beside the old one until the name is dropped."""
    second = msgspec.structs.replace(BASELINE, version=2, created_at=NOW + 1)
    repository.save_baseline(BASELINE)
    repository.save_baseline(second)
    assert repository.load_baselines("chat") == [BASELINE, second]
    assert repository.load_baselines("code") == []
    assert repository.drop_baseline("chat", "week") == 2
    assert repository.load_baselines() == []


def test_an_alert_is_replaced_by_its_id(repository: Repository) -> None:
    """Resolving an episode leaves one row, which is no longer open."""
    repository.save_alerts([ALERT], [DELIVERY])
    assert repository.open_alerts() == [ALERT]
    resolved = msgspec.structs.replace(ALERT, state="resolved", resolved_at=NOW + 9)
    repository.save_alerts([resolved])
    assert repository.open_alerts() == []
    assert repository.load_alert("a1") == resolved
    assert repository.alerts_between(NOW + 5, NOW + 6) == [resolved]
    assert repository.alerts_between(NOW + 10, NOW + 11) == []


def test_alerts_and_deliveries_are_one_transaction(repository: Repository) -> None:
    """When a notification cannot be written, its alert is not either."""
    broken = msgspec.structs.replace(DELIVERY, tries=2**40)
    with pytest.raises(StorageError):
        repository.save_alerts([ALERT], [broken])
    assert repository.open_alerts() == []
    repository.save_alerts([ALERT])
    assert repository.open_alerts() == [ALERT]


def test_the_outbox_gives_what_is_due(repository: Repository) -> None:
    """A notification waits until its time, and leaves the outbox when it is delivered."""
    later = msgspec.structs.replace(DELIVERY, id="d2", next_at=NOW + SECOND)
    repository.save_alerts([ALERT], [DELIVERY, later])
    assert repository.pending_deliveries(limit=1) == [DELIVERY]
    assert repository.pending_deliveries(due_at=NOW) == [DELIVERY]
    done = msgspec.structs.replace(DELIVERY, state="delivered", delivered_at=NOW, tries=1)
    repository.save_delivery(done)
    assert repository.pending_deliveries() == [later]
    assert repository.deliveries_of("a1") == [done, later]
    dead = msgspec.structs.replace(later, state="dead")
    repository.save_delivery(dead)
    assert repository.dead_deliveries() == [dead]
    assert repository.load_delivery("d2") == dead


def test_threads_share_a_repository(repository: Repository) -> None:
    """Concurrent writers and readers lose no row and raise nothing."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                name = f"{number}-{step}"
                alert = msgspec.structs.replace(ALERT, id=name)
                repository.save_alerts([alert], [msgspec.structs.replace(DELIVERY, id=name)])
                repository.pending_deliveries()
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(repository.open_alerts()) == 40


def test_feature_columns_of_a_route(tmp_path: Path) -> None:
    """The monitors' read goes through the repository."""
    database = open_empty_log(tmp_path)
    ends = [end_of(1), end_of(2)]
    with database.cursor() as cursor:
        write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=NOW)
    found = Repository(database).feature_columns("chat", ["ttft_s", "language"], NOW, NOW + 9)
    assert list(found["ttft_s"]) == [0.1, 0.1]
    assert found["language"] == ["en", "en"]
    database.close()


def test_retention_takes_what_is_over(tmp_path: Path) -> None:
    """Old verdicts, resolved alerts, settled notifications, silences and detectors go.

    What is open, due or looked at stays.
    """
    database = open_empty_log(tmp_path)
    kept = Repository(database)
    day = 86_400 * SECOND
    kept.save_verdicts([VERDICT, msgspec.structs.replace(VERDICT, id="v2", at=NOW - 9 * day)])
    over = msgspec.structs.replace(
        ALERT, id="a2", state="resolved", opened_at=NOW - 9 * day, resolved_at=NOW - 9 * day
    )
    sent = msgspec.structs.replace(
        DELIVERY, id="d2", alert_id="a2", state="delivered", created_at=NOW - 9 * day
    )
    due = msgspec.structs.replace(DELIVERY, id="d3", created_at=NOW - 9 * day)
    kept.save_alerts([ALERT, over], [DELIVERY, sent, due])
    for name, ends_at in (("s1", NOW - 6 * day), ("s2", NOW - 8 * day)):
        kept.save_silence(Silence(name, NOW - 9 * day, NOW - 9 * day, ends_at, "", "", {}))
    fed = {"chat": NOW - 29 * day, "gone": NOW - 31 * day}
    for route, at in fed.items():
        kept.save_look([], [Detector(route, "", "ttft_s", "default@1", 1, at, b"")])
    text = TextArchive(database, tmp_path / "spool", now_us)
    retention = Retention(database, kept, text, FactArchive(database, now_us=now_us))
    retention.apply(RetentionConfig(predictions=7), NOW)
    assert kept.latest_verdicts() == kept.verdicts_between(0, NOW + 1) == [VERDICT]
    assert [kept.load_alert(name) for name in ("a1", "a2")] == [ALERT, None]
    found = [kept.load_delivery(name) is not None for name in ("d1", "d2", "d3")]
    assert found == [True, False, True]
    assert [silence.id for silence in kept.silences(ends_after=0)] == ["s1"]
    assert [detector.route for detector in kept.load_detectors()] == ["chat"]
    database.close()
