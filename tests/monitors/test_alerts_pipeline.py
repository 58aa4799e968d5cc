import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
from support.alert_kit import SECRET, MovingClock, Outbox, change, verdict, webhook
from support.empty_log import open_empty_log

from monitors.alerts.config import ChannelConfig
from monitors.alerts.pipeline import AlertPipeline
from storage.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


@pytest.fixture
def pipeline(repository: Repository) -> AlertPipeline:
    """Return a pipeline with two channels."""
    return piped(repository)


def piped(repository: Repository, prefix: str = "id") -> AlertPipeline:
    """Return a pipeline with two channels, as a process that has just started has."""
    numbers = count()
    channels = [webhook("http://127.0.0.1:1/a"), webhook("http://127.0.0.1:1/b")]
    clock = MovingClock()
    return AlertPipeline(repository, channels, clock, lambda: f"{prefix}{next(numbers):04}")


def events(repository: Repository) -> list[str]:
    """Return the events that wait, once a channel."""
    pending = repository.pending_deliveries()
    first = pending[0].channel if pending else ""
    return [delivery.event for delivery in pending if delivery.channel == first]


def test_drift_opens_one_alert_for_all_features(
    pipeline: AlertPipeline, repository: Repository
) -> None:
    """Three features of a route are one episode with one notification a channel."""
    pipeline.on_verdicts(
        [verdict("drift", "warning", feature=name) for name in ("latency_s", "language", "error")]
    )
    (alert,) = repository.open_alerts()
    assert (alert.kind, alert.route, alert.subject, alert.severity) == (
        "drift",
        "chat",
        "drift",
        "warning",
    )
    deliveries = repository.pending_deliveries()
    assert [d.event for d in deliveries] == ["drift.opened"] * 2
    assert len({d.channel for d in deliveries}) == len({d.id for d in deliveries}) == 2
    assert len(json.loads(deliveries[0].body)["data"]["features"]) == 3


def test_an_open_episode_is_updated_in_silence(
    pipeline: AlertPipeline, repository: Repository
) -> None:
    """Later looks that find the same drift change the alert's figures and tell nobody."""
    pipeline.on_verdicts([verdict("drift", "warning", value=0.3)])
    (before,) = repository.open_alerts()
    pipeline.on_verdicts([verdict("drift", "warning", value=0.4)])
    (after,) = repository.open_alerts()
    assert (after.id, after.opened_at) == (before.id, before.opened_at)
    assert "0.4" in after.summary
    assert events(repository) == ["drift.opened"]


def test_what_drifts_later_is_told_once(pipeline: AlertPipeline, repository: Repository) -> None:
    """Under the episode's id, with its name; not again when it comes and goes within it."""
    tokens, words = verdict("drift", "critical"), verdict("drift", "warning", feature="language")
    calm = verdict("ok", feature="language")
    for look in ([tokens, calm], [tokens, words], [tokens, calm], [tokens, words]):
        pipeline.on_verdicts(look)
    assert events(repository) == ["drift.opened", "drift.escalated"]
    opened, *_, escalated = repository.pending_deliveries()
    assert opened.alert_id == escalated.alert_id
    data = json.loads(escalated.body)["data"]
    assert data["joined"] == ["language"]
    assert data["summary"].startswith("now also `language`; ")
    pipeline.on_verdicts([verdict("ok"), calm])
    assert events(repository)[-1] == "drift.resolved"


def test_an_alert_of_an_older_program_tells_no_old_features_as_new(
    repository: Repository,
) -> None:
    """It did not keep which streams it told of."""
    outbox = Outbox(repository, [webhook("http://127.0.0.1:1/")])
    outbox.raise_(change("opened"))
    piped(repository).on_verdicts([verdict("drift", "warning")])
    assert events(repository) == ["drift.opened"]


def test_an_episode_from_start_to_end(pipeline: AlertPipeline, repository: Repository) -> None:
    """Opened, escalated once, resolved once: under one id."""
    worse = verdict("drift", "critical")
    for look in (verdict("drift", "warning"), worse, verdict("drift", "warning"), worse):
        pipeline.on_verdicts([look])
    for _ in range(2):
        pipeline.on_verdicts([verdict("ok")])
    assert events(repository) == ["drift.opened", "drift.escalated", "drift.resolved"]
    assert len({d.alert_id for d in repository.pending_deliveries()}) == 1
    assert repository.open_alerts() == []


@pytest.mark.parametrize(("minutes", "same"), [(29, True), (31, False)])
def test_an_episode_that_comes_back_soon_goes_on(
    repository: Repository, minutes: int, *, same: bool
) -> None:
    """Within half an hour it keeps its id and says that it was reopened; later it is another."""
    outbox = Outbox(repository, [webhook("http://127.0.0.1:1/")])
    outbox.raise_(change("opened"), change("resolved"))
    outbox.clock.now_s += minutes * 60
    outbox.raise_(change("opened"))
    (alert,) = repository.open_alerts()
    assert alert.data.get("reopened") == (1 if same else None)
    assert len(repository.alerts_between(0, 2**55)) == (1 if same else 2)
    assert events(repository) == ["drift.opened", "drift.resolved", "drift.opened"]


def test_an_episode_that_comes_back_worse_escalates(repository: Repository) -> None:
    """And one that comes back milder stays as bad as it was."""
    outbox = Outbox(repository, [webhook("http://127.0.0.1:1/")])
    outbox.raise_(change("opened"), change("resolved"), change("opened", "critical"))
    outbox.raise_(change("resolved"), change("opened", "warning"))
    (alert,) = repository.open_alerts()
    assert (alert.severity, alert.data["reopened"]) == ("critical", 2)
    assert events(repository)[2:] == ["drift.escalated", "drift.resolved", "drift.opened"]


def test_the_end_of_a_flapping_episode_is_told_later(repository: Repository) -> None:
    """The first at once, the next after ten minutes more each time."""
    outbox = Outbox(repository, [webhook("http://127.0.0.1:1/")])
    for _ in range(3):
        outbox.raise_(change("opened"), change("resolved"))
    ends = [d for d in repository.pending_deliveries() if d.event == "drift.resolved"]
    waits_s = [(d.next_at - d.created_at) / 1e6 for d in sorted(ends, key=lambda d: d.next_at)]
    assert waits_s == [0, 600, 1200]


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({}, ["drift.opened", "drift.escalated", "drift.resolved"]),
        ({"min_severity": "critical"}, ["drift.escalated", "drift.resolved"]),
        ({"kinds": ["dri*"]}, ["drift.opened", "drift.escalated", "drift.resolved"]),
        ({"kinds": ["slo"]}, []),
    ],
)
def test_a_channel_is_told_what_it_wants(
    repository: Repository, filters: dict[str, object], told: list[str]
) -> None:
    """By severity and kind."""
    kind = {"webhook": {"url": "http://127.0.0.1:1/", "secret": SECRET}}
    outbox = Outbox(repository, [ChannelConfig.model_validate({**kind, **filters})])
    outbox.raise_(change("opened"), change("escalated", "critical"), change("resolved", "critical"))
    assert events(repository) == told


def test_a_restart_neither_opens_again_nor_forgets(repository: Repository) -> None:
    """What is open stands in the database, not in the process."""
    piped(repository, "x").on_verdicts([verdict("drift", "warning")])
    piped(repository, "y").on_verdicts([verdict("drift", "warning")])
    assert events(repository) == ["drift.opened"]
    piped(repository, "z").on_verdicts([verdict("ok")])
    assert events(repository) == ["drift.opened", "drift.resolved"]


def test_silence_and_other_routes_end_nothing(
    pipeline: AlertPipeline, repository: Repository
) -> None:
    """An episode stays open without data, and when only other routes were looked at."""
    pipeline.on_verdicts([verdict("drift", "warning")])
    pipeline.on_verdicts([verdict("stale")])
    pipeline.on_verdicts([verdict("ok", route="code")])
    pipeline.on_verdicts([])
    assert len(repository.open_alerts()) == 1
    assert events(repository) == ["drift.opened"]


def test_routes_have_their_own_episodes(pipeline: AlertPipeline, repository: Repository) -> None:
    """One ends while the other goes on."""
    pipeline.on_verdicts([verdict("drift", "warning"), verdict("drift", "critical", route="code")])
    pipeline.on_verdicts([verdict("ok"), verdict("drift", "critical", route="code")])
    (alert,) = repository.open_alerts()
    assert (alert.route, alert.severity) == ("code", "critical")


def test_repeated_changes_tell_once(pipeline: AlertPipeline, repository: Repository) -> None:
    """Opening what is open and resolving what is not are no events, also within one call."""
    pipeline.handle([change("opened"), change("opened"), change("resolved"), change("resolved")])
    assert events(repository) == ["drift.opened", "drift.resolved"]
    assert len(repository.alerts_between(0, 2**55)) == 1


def test_an_end_says_how_many_features_were_seen(
    pipeline: AlertPipeline, repository: Repository
) -> None:
    """Features without rows are not called as the baseline."""
    pipeline.on_verdicts([verdict("drift", "warning")])
    (alert,) = repository.open_alerts()
    blind = msgspec.structs.replace(verdict("stale", feature="ttft_s"), details={"open": False})
    pipeline.on_verdicts([verdict("ok"), blind])
    found = repository.load_alert(alert.id)
    assert found is not None
    assert found.state == "resolved"
    assert "1 of 2 features are as the baseline; of the others" in found.summary
