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
    assert monitor("alerts", "replay", waiting.id, "--data-dir", str(served.data_dir)) == 0
    assert f"{waiting.id}  drift.opened" in capsys.readouterr().out
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
