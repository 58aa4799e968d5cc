import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from support.alert_kit import Outbox, change, webhook
from support.empty_log import open_empty_log
from support.webhook_receiver import Receiver, Reply, receiving, wait_until

from gateway.api import health
from gateway.api.alerts import router
from gateway.api.state import ApiState
from gateway.cli.exits import run_command
from gateway.cli.main import cli
from gateway.config import Settings
from gateway.delivery import DeliveryLoop
from gateway.paths import control_file
from router.clock import Clock, SystemClock
from storage.repository import Repository

CLOCK = SystemClock()


@dataclass
class State:
    """What the control plane hands to the routes."""

    clock: Clock
    repository: Repository
    delivery: DeliveryLoop
    settings: Settings


@dataclass
class Served:
    """A server, its outbox, its data directory."""

    url: str
    outbox: Outbox
    data_dir: Path


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Run an application on port 0; give its URL."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver on this machine."""
    with receiving() as found:
        yield found


@pytest.fixture
def served(tmp_path: Path, receiver: Receiver) -> Iterator[Served]:
    """Return a control plane with one channel, found through its data directory."""
    database = open_empty_log(tmp_path, now_us=CLOCK.now_us)
    repository = Repository(database)
    outbox = Outbox(repository, [webhook(receiver.url)])
    settings = Settings.model_validate(
        {"upstreams": {"a": {"name": "a", "url": "http://127.0.0.1:1"}},
         "routes": {"*": {"name": "*", "split": {"a": 1.0}}}}
    )  # fmt: skip
    app = FastAPI()
    state = State(CLOCK, repository, outbox.loop, settings)
    app.include_router(router(state), prefix="/api/v1")
    app.include_router(health.router(cast("ApiState", state)))
    with serving(app) as url:
        file = control_file(tmp_path)
        file.parent.mkdir()
        file.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        yield Served(url, outbox, tmp_path)
    database.close()


def monitor(*arguments: str) -> int:
    """Run the command line in this process; return its exit code."""
    return run_command(cli, list(arguments))


def test_list_asks_the_server(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Alerts, and what of their notifications is not delivered, as JSON of a version."""
    (waiting,) = served.outbox.raise_(change("opened"))
    assert monitor("alerts", "list", "--data-dir", str(served.data_dir), "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["version"] == 1
    assert [a["id"] for a in shown["alerts"]] == [waiting.alert_id]
    assert [d["id"] for d in shown["pending"]] == [waiting.id]
    assert shown["dead"] == []
    assert "body" not in shown["pending"][0]


def test_list_reads_the_file_when_no_server_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed server's address left behind does not mislead it."""
    database = open_empty_log(tmp_path, now_us=CLOCK.now_us)
    outbox = Outbox(Repository(database), [webhook("http://127.0.0.1:1/")])
    outbox.raise_(change("opened"))
    database.close()
    control_file(tmp_path).parent.mkdir()
    control_file(tmp_path).write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 2**22 + 1}))
    assert monitor("alerts", "list", "--data-dir", str(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "still open" in shown
    assert "not tried yet" in shown


def test_list_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a log is exit 4; a log without alerts is a sentence."""
    assert monitor("alerts", "list", "--data-dir", str(tmp_path)) == 4
    open_empty_log(tmp_path, now_us=CLOCK.now_us).close()
    assert monitor("alerts", "list", "--data-dir", str(tmp_path)) == 0
    assert "no alerts in this period" in capsys.readouterr().out


def test_a_test_tells_of_every_channel(
    served: Served, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 when all took it, 1 with the reason when one did not."""
    receiver.script = [Reply(200), Reply(403, body=b"no entry")]
    assert monitor("alerts", "test", "--data-dir", str(served.data_dir)) == 0
    assert "delivered" in capsys.readouterr().out
    assert monitor("alerts", "test", "--server", served.url) == 1
    assert "failed: answered 403: no entry" in capsys.readouterr().out


def test_a_dead_notification_is_replayed(
    served: Served, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its id; it goes out under the same one."""
    receiver.script = [Reply(410)]
    (waiting,) = served.outbox.raise_(change("opened"))
    served.outbox.turn()
    assert monitor("alerts", "list", "--server", served.url) == 0
    assert f"  {waiting.channel}, since 20" in capsys.readouterr().out
    assert monitor("alerts", "replay", waiting.id, "--data-dir", str(served.data_dir)) == 0
    assert f"{waiting.id}  drift.opened" in capsys.readouterr().out
    assert monitor("alerts", "list", "--server", served.url) == 0
    assert "switched off" not in capsys.readouterr().out
    # The server's clock may be ahead of the outbox's, which stands still.
    served.outbox.after(60)
    assert receiver.ids == [waiting.id] * 2


def test_replaying_what_is_not_there_is_a_usage_error(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and the id."""
    assert monitor("alerts", "replay", "no-such-id", "--server", served.url) == 2
    assert "there is no delivery `no-such-id`" in capsys.readouterr().err


def test_without_a_server_there_is_no_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 4 and the way out."""
    open_empty_log(tmp_path, now_us=CLOCK.now_us).close()
    assert monitor("alerts", "test", "--data-dir", str(tmp_path)) == 4
    assert "start `monitor serve`" in capsys.readouterr().err
    assert monitor("alerts", "test", "--server", "http://127.0.0.1:1") == 4
    assert "cannot be reached" in capsys.readouterr().err


def test_an_alert_is_shown_with_its_notifications(served: Served) -> None:
    """`GET /alerts/{id}`; an unknown one is 404 in the API's error shape."""
    (waiting,) = served.outbox.raise_(change("opened"))
    found = httpx2.get(f"{served.url}/api/v1/alerts/{waiting.alert_id}").json()
    assert found["alert"]["state"] == "open"
    assert [d["event"] for d in found["deliveries"]] == ["drift.opened"]
    missing = httpx2.get(f"{served.url}/api/v1/alerts/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


def test_times_beyond_all_dates_are_refused(served: Served) -> None:
    """Not a fault of the server."""
    refused = httpx2.get(f"{served.url}/api/v1/alerts?until_us={2**62}")
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "until_us")


def test_all_that_was_given_up_is_replayed(
    served: Served, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without looking up ids; a second time there is nothing."""
    receiver.always = Reply(410)
    served.outbox.raise_(change("opened"))
    (_, second) = served.outbox.raise_(change("opened", route="code"))
    served.outbox.turn()
    assert monitor("alerts", "replay", "--all-dead", "--server", served.url) == 0
    assert second.id in capsys.readouterr().out
    assert monitor("alerts", "replay", "--all-dead", "--server", served.url) == 0
    assert capsys.readouterr().out == "nothing was given up\n"
    assert monitor("alerts", "replay", "--server", served.url) == 2


def test_a_silence_is_made_listed_and_ended(
    served: Served, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it lasts nothing is sent; when it is ended, what is still open is."""
    made = ("--route", "ch*", "--for", "2h", "--comment", "load test", "--author", "ann")
    assert monitor("alerts", "silence", *made, "--server", served.url) == 0
    line = capsys.readouterr().out
    assert "active" in line
    assert "route=ch*  (ann load test)" in line
    # The outbox's clock stands still since before the silence began.
    served.outbox.clock.now_s += 60
    served.outbox.raise_(change("opened"))
    assert served.outbox.turn() == 0
    for source in (("--server", served.url), ("--data-dir", str(served.data_dir))):
        assert monitor("alerts", "silence", "--list", *source) == 0
        assert capsys.readouterr().out == line
    assert monitor("alerts", "silence", "--end", line.split()[0], "--server", served.url) == 0
    assert "ended" in capsys.readouterr().out
    assert monitor("alerts", "silence", "--server", served.url) == 0
    assert capsys.readouterr().out == "nothing is silenced\n"
    assert served.outbox.turn() == 1
    assert len(receiver.received) == 1


def test_a_silence_can_begin_later(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """At a time, or in a while; before that it stops nothing."""
    arguments = ("alerts", "silence", "--kind", "drift", "--for", "1h", "--server", served.url)
    for start in ("3h", "2100-01-01T00:00Z"):
        assert monitor(*arguments, "--from", start) == 0
    shown = capsys.readouterr().out
    assert shown.count("pending") == 2
    assert "2100-01-01T00:00:00Z to 2100-01-01T01:00:00Z" in shown
    served.outbox.raise_(change("opened"))
    assert served.outbox.turn() == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--route", "chat"], "say for how long"),
        (["--for", "2h"], "say what to silence"),
        (["--route", "chat", "--for", "soon"], "is not a duration"),
        (["--route", "chat", "--for", "2h", "--from", "soon"], "is no time"),
        (["--route", "x" * 501, "--for", "2h"], "500 characters"),
        (["--end", "no-such-id"], "there is no silence `no-such-id`"),
    ],
)
def test_what_is_no_silence_is_a_usage_error(
    served: Served, arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and what to write instead."""
    assert monitor("alerts", "silence", *arguments, "--server", served.url) == 2
    assert why in capsys.readouterr().err


def test_an_unknown_matcher_is_refused(served: Served) -> None:
    """With the names that there are."""
    body = {"matchers": {"color": "red"}, "duration_s": 60}
    refused = httpx2.post(f"{served.url}/api/v1/silences", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_silence")
    assert "`segment`, `feature`" in refused.json()["error"]["message"]
