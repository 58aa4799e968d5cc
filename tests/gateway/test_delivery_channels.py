import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support.alert_kit import SECRET, MovingClock, Outbox, change
from support.empty_log import open_empty_log
from support.webhook_receiver import Receiver, Reply, receiving

from gateway.alert_sender import AlertSender
from gateway.config_source import Source
from gateway.settings import load_settings
from monitors.alerts.channels import channel_name
from monitors.alerts.config import KINDS, ChannelConfig
from storage.repository import Repository

EXAMPLES = Path(__file__).parents[2] / "deploy" / "alerts"
ROUTING_KEY = "R0UTINGKEY"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver on this machine."""
    with receiving() as found:
        yield found


def slack(url: str, **more: object) -> ChannelConfig:
    """Return a channel to an incoming webhook."""
    return ChannelConfig.model_validate({"slack": {"url": url, "allow_private": True}, **more})


def pagerduty(url: str) -> ChannelConfig:
    """Return a channel to an integration."""
    config = {"routing_key": ROUTING_KEY, "url": url, "allow_private": True}
    return ChannelConfig.model_validate({"pagerduty": config})


def bodies(receiver: Receiver) -> list[Any]:
    """Return what came, as JSON."""
    return [json.loads(request.body) for request in receiver.received]


def test_slack_gets_words(repository: Repository, receiver: Receiver) -> None:
    """A title with severity and route, the summary and the features; nobody can be mentioned."""
    outbox = Outbox(repository, [slack(receiver.url, group_wait="0s")])
    hostile = replace(change("opened", "critical"), summary="<!channel> & 漂移")
    (waiting,) = outbox.raise_(hostile)
    assert outbox.turn() == 1
    (body,) = bodies(receiver)
    header, section, note = body["blocks"]
    assert header["text"]["text"] == "[critical] drift opened on route chat"
    lines = section["text"]["text"].split("\n")
    assert lines == ["&lt;!channel&gt; &amp; 漂移", "prompt_chars effect 1"]
    assert f"alert {waiting.alert_id}, message {waiting.id}" in note["elements"][0]["text"]
    assert body["text"] == f"{header['text']['text']}: {lines[0]}"


def test_slack_gets_one_message_a_second(repository: Repository, receiver: Receiver) -> None:
    """And none for as long as its 429 says."""
    receiver.script = [Reply(), Reply(429, {"retry-after": "30"})]
    outbox = Outbox(repository, [slack(receiver.url, group_wait="0s")])
    outbox.raise_(*(change("opened", route=f"r{n}") for n in range(3)))
    assert [outbox.turn(), outbox.turn(), outbox.after(0.9)] == [1, 0, 0]
    assert outbox.after(0.1) == 1
    assert outbox.after(29) == 0
    assert [outbox.after(2), outbox.after(1)] == [1, 1]
    assert outbox.turn() == 0


def test_what_opens_together_is_one_message(repository: Repository, receiver: Receiver) -> None:
    """After five seconds, under one id; each end is told for itself."""
    outbox = Outbox(repository, [slack(receiver.url)])
    outbox.raise_(change("opened"))
    outbox.clock.now_s += 3
    outbox.raise_(change("opened", "critical", route="code"))
    assert [outbox.turn(), outbox.after(2)] == [0, 1]
    (body,) = bodies(receiver)
    assert body["blocks"][0]["text"]["text"] == "2 alerts"
    assert body["blocks"][1]["text"]["text"].split("\n") == [
        "[warning] drift opened on route chat: drift opened",
        "[critical] drift opened on route code: drift opened",
    ]
    outbox.raise_(change("resolved", route="code"))
    outbox.after(10)
    assert "[resolved] drift resolved on route code" in bodies(receiver)[1]["text"]
    assert repository.pending_deliveries() == []


def test_a_url_may_stand_in_a_file(
    repository: Repository, receiver: Receiver, tmp_path: Path
) -> None:
    """It is read at each try, checked, and neither shown nor part of a name."""
    file = tmp_path / "url"
    file.write_text("ftp://nowhere")
    config = {"slack": {"url_file": str(file), "allow_private": True}}
    channel = ChannelConfig.model_validate(config)
    outbox = Outbox(repository, [channel])
    (found,) = asyncio.run(outbox.loop.test("t"))
    assert "must be `http://HOST" in (found.result.error or "")
    file.write_text(receiver.url + "\n")
    (found,) = asyncio.run(outbox.loop.test("t"))
    assert found.result.delivered
    assert "[warning] alert test" in bodies(receiver)[0]["text"]
    assert channel_name(channel).startswith("slack:file:")


def test_pagerduty_gets_one_incident_an_episode(repository: Repository, receiver: Receiver) -> None:
    """Opened and escalated trigger, resolved resolves, under the alert's id."""
    receiver.always = Reply(202)
    outbox = Outbox(repository, [pagerduty(receiver.url)])
    for event in ("opened", "escalated", "resolved"):
        outbox.raise_(change(event, "warning" if event == "opened" else "critical"))
        outbox.turn()
    found = bodies(receiver)
    assert [b["event_action"] for b in found] == ["trigger", "trigger", "resolve"]
    assert [b["payload"]["severity"] for b in found] == ["warning", "critical", "critical"]
    assert {b["routing_key"] for b in found} == {ROUTING_KEY}
    assert len({b["dedup_key"] for b in found}) == 1
    assert found[0]["payload"]["custom_details"]["features"][0]["feature"] == "prompt_chars"


def test_a_trial_leaves_no_incident(repository: Repository, receiver: Receiver) -> None:
    """It is triggered as information and resolved at once."""
    outbox = Outbox(repository, [pagerduty(receiver.url)])
    (found,) = asyncio.run(outbox.loop.test("trial"))
    assert found.result.delivered
    assert [(b["event_action"], b["dedup_key"]) for b in bodies(receiver)] == [
        ("trigger", "trial"),
        ("resolve", "trial"),
    ]
    assert bodies(receiver)[0]["payload"]["severity"] == "info"


def test_names_tell_no_keys() -> None:
    """Neither a routing key nor the path of a hook nor what an Apprise URL holds."""
    hook = slack("https://hooks.slack.com/services/T0/B0/TOKEN")
    apprise = ChannelConfig.model_validate({"apprise": {"url": "slack://TOKENA/TOKENB/"}})
    names = [channel_name(c) for c in (hook, apprise, pagerduty("https://h/"))]
    assert [name.rpartition(":")[0] for name in names] == [
        "slack:hooks.slack.com",
        "apprise:slack",
        "pagerduty:h",
    ]
    assert not any("TOKEN" in repr(c) or ROUTING_KEY in repr(c) for c in (hook, apprise))


def by_apprise(url: str, **more: object) -> ChannelConfig:
    """Return a channel by the library."""
    config = {"url": url, "allow_private": True, **more}
    return ChannelConfig.model_validate({"apprise": config, "group_wait": "0s"})


def test_apprise_delivers(repository: Repository, receiver: Receiver) -> None:
    """The real library, in its own process, to a service of this machine."""
    outbox = Outbox(repository, [by_apprise(f"json://127.0.0.1:{receiver.port}/")], timeout_s=30.0)
    (waiting,) = outbox.raise_(change("opened", "critical"))
    assert outbox.turn() == 1
    (body,) = bodies(receiver)
    assert body["title"] == "[critical] drift opened on route chat"
    assert body["message"].startswith("drift opened\n")
    assert body["message"].endswith(f"alert {waiting.alert_id}, message {waiting.id}")
    assert body["type"] == "failure"
    assert repository.pending_deliveries() == []


REFUSALS = """
import socket, sys
from gateway.apprise_program import notified
words = {"title": "t", "body": "b", "type": "info"}
open_words = {**words, "allow_private": True}
print(notified({"url": sys.argv[1], **open_words}))
print(notified({"url": "nonsense://TOKEN", **open_words}))
print(notified({"url": sys.argv[1], **words}))
print(notified({"url": sys.argv[1].replace("127.0.0.1", "localhost"), **words}))
for kind, call in ((socket.SOCK_STREAM, "connect"), (socket.SOCK_DGRAM, "sendto")):
    try:
        where = ("localhost", 9)
        one = socket.socket(socket.AF_INET, kind)
        one.connect(where) if call == "connect" else one.sendto(b"x", where)
    except OSError as error:
        print(error)
sys.modules["apprise"] = None
print(notified({}))
"""


def test_what_apprise_cannot_send_is_told(receiver: Receiver) -> None:
    """In the library's words, without the URL; without the library, what to install.

    Private addresses are refused: as numbers, as names, and where a library lets the socket
    resolve.
    """
    receiver.always = Reply(500)
    command = [sys.executable, "-c", REFUSALS, f"json://127.0.0.1:{receiver.port}/"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    failed, unknown, *refused, missing = done.stdout.splitlines()
    assert "500" in failed
    assert "does not know" in unknown
    assert "TOKEN" not in unknown
    assert len(receiver.received) == 1
    assert len(refused) == 4
    # The first guard of a process stops what a second one would: then its words are not the last.
    told = (refused[0], *refused[2:])
    assert all("not public; say `allow_private: true`" in line for line in told)
    assert "pip install driftgate[notify]" in missing


def test_apprise_that_hangs_is_ended(receiver: Receiver) -> None:
    """A try is bounded whatever the library does."""
    receiver.always = Reply(delay_s=1.0)
    sender = AlertSender(MovingClock(), timeout_s=0.8)
    body = b'{"type":"drift.opened","timestamp":"t","data":{"alert_id":"a","route":"*",'
    body += b'"severity":"warning","summary":"s"}}'
    channel = by_apprise(f"json://127.0.0.1:{receiver.port}/")
    result = asyncio.run(sender.send(channel, "id", body))
    assert "no answer within" in (result.error or "")


def test_a_notification_that_cannot_be_put_into_words_is_told(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails like any other, and stops none."""
    sender = AlertSender(MovingClock())
    result = asyncio.run(sender.send(slack(receiver.url), "id", b'{"type":"x"}'))
    assert result.error == "KeyError, see the log"
    assert "notification id cannot be sent" in caplog.text
    assert receiver.received == []


def test_the_examples_are_good() -> None:
    """One channel of each kind, with secrets from the environment; and an Alertmanager's file."""
    environ = {
        "WEBHOOK_SECRET": SECRET,
        "SLACK_URL": "https://hooks.slack.com/services/T/B/X",
        "PAGERDUTY_KEY": ROUTING_KEY,
        "APPRISE_URL": "mailto://user:pass@example.com",
    }
    settings = load_settings(Source(EXAMPLES / "channels.yaml"), environ)
    assert tuple(channel.kind for channel in settings.alerts) == KINDS
    subprocess.run(["amtool", "check-config", EXAMPLES / "alertmanager.yml"], check=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{slack: {url: 'ftp://h/'}}", "must be `http://HOST"),
        ("{slack: {}}", "needs exactly one of `url` and `url_file`"),
        ("{pagerduty: {}}", "needs exactly one of `routing_key` and `routing_key_file`"),
        ("{apprise: {url: 'json://h', url_file: f}}", "needs exactly one of `url` and `url_file`"),
        ("{pagerduty: {routing_key: k}, group_wait: 5s}", "which groups alerts itself"),
        ("{pagerduty: {routing_key: k}, remind: 24h}", "which reminds of what is open itself"),
        ("{slack: {url: 'https://h/'}, remind: 1m}", "greater than or equal to 300"),
        ("{slack: {url: 'https://h/'}, group_wait: 2h}", "less than or equal to 3600"),
        ("{slack: {url: 'https://h/'}, min_severity: low}", "'warning' or 'critical'"),
    ],
)
def test_a_channel_that_is_none_is_refused(text: str, why: str) -> None:
    """With the configuration, not at the first alert."""
    with pytest.raises(ValidationError, match=re.escape(why)):
        ChannelConfig.model_validate(yaml.safe_load(text))
