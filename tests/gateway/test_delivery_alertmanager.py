import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.alert_kit import MovingClock, Outbox, change
from support.empty_log import open_empty_log
from support.webhook_receiver import receiving, wait_until

from monitors.alerts.alertmanager import REPEAT_S
from monitors.alerts.config import ChannelConfig
from storage.repository import Repository

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\nglobal: {resolve_timeout: 2s}\n"


def channel_to(url: str) -> ChannelConfig:
    """Return a channel to an Alertmanager."""
    return ChannelConfig.model_validate({"alertmanager": {"url": url}})


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path / "data")
    yield Repository(database)
    database.close()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a real Alertmanager, whose own time-out would end our alerts in 2 s."""
    program = shutil.which("prometheus-alertmanager")
    assert program, "`prometheus-alertmanager` is missing; install the package of that name"
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'am'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: is_ready(url), 20.0)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def is_ready(url: str) -> bool:
    """Say whether an Alertmanager answers."""
    try:
        return httpx2.get(f"{url}/-/ready", trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def firing(url: str) -> list[dict[str, Any]]:
    """Return what fires there; alerts that ended are not listed."""
    found: list[dict[str, Any]] = httpx2.get(f"{url}/api/v2/alerts", trust_env=False).json()
    return found


def test_a_real_alertmanager_follows_an_episode(repository: Repository, alertmanager: str) -> None:
    """It fires, stays over the receiver's own time-out, gets worse under one name, and ends."""
    outbox = Outbox(repository, [channel_to(alertmanager)])
    (opened,) = outbox.raise_(change("opened"))
    outbox.turn()
    wait_until(lambda: bool(firing(alertmanager)))
    time.sleep(2.5)
    (alert,) = firing(alertmanager)
    assert alert["status"]["state"] in {"active", "unprocessed"}
    assert alert["labels"] == {
        "alertname": "DriftgateDrift",
        "source": "driftgate",
        "monitor": "drift",
        "route": "chat",
        "severity": "warning",
    }
    assert alert["annotations"]["episode"] == opened.alert_id
    outbox.raise_(change("escalated", "critical"))
    outbox.turn()
    wait_until(lambda: [a["labels"]["severity"] for a in firing(alertmanager)] == ["critical"])
    outbox.raise_(change("resolved", "critical"))
    outbox.turn()
    wait_until(lambda: firing(alertmanager) == [])
    assert repository.pending_deliveries() == []


def test_an_alertmanager_that_forgot_is_told_again(
    repository: Repository, alertmanager: str
) -> None:
    """An open episode fires in an Alertmanager that never got the notification of its opening."""
    silent = Outbox(repository, [])
    silent.raise_(change("opened"))
    outbox = Outbox(repository, [channel_to(alertmanager)])
    asyncio.run(outbox.loop.keep_open())
    wait_until(lambda: len(firing(alertmanager)) == 1)


def test_open_episodes_are_posted_every_two_minutes(repository: Repository) -> None:
    """Each post ends by itself later than the next is due; what ended is posted no more."""
    clock = MovingClock()
    with receiving() as receiver:
        outbox = Outbox(repository, [channel_to(f"http://127.0.0.1:{receiver.port}/am/")], clock)
        outbox.raise_(change("opened"), change("opened", route="code"))

        async def story() -> None:
            await outbox.loop.keep_open()
            await outbox.loop.keep_open()
            clock.now_s += REPEAT_S
            await outbox.loop.keep_open()
            resolved = [change("resolved"), change("resolved", route="code")]
            await asyncio.to_thread(outbox.pipeline.handle, resolved)
            clock.now_s += REPEAT_S
            await outbox.loop.keep_open()

        asyncio.run(story())
        assert [r.path for r in receiver.received] == ["/am/api/v2/alerts"] * 2
        assert receiver.received[0].body.count(b"endsAt") == 2
        assert outbox.loop.statistics().kept_open == 2


def test_the_loop_keeps_open_what_was_open_before_it_started(repository: Repository) -> None:
    """After a restart an Alertmanager hears of open episodes at once, an end only once."""
    with receiving() as receiver:
        outbox = Outbox(repository, [channel_to(f"http://127.0.0.1:{receiver.port}")])
        Outbox(repository, []).raise_(change("opened"))

        async def serve() -> None:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(outbox.loop.run())
                await asyncio.to_thread(wait_until, lambda: outbox.loop.statistics().kept_open == 1)
                await asyncio.to_thread(outbox.raise_, change("resolved"))
                outbox.loop.wake()
                await asyncio.to_thread(wait_until, lambda: outbox.loop.statistics().delivered == 1)
                running.cancel()

        asyncio.run(serve())
        assert len(receiver.received) == 2
        assert b"drift resolved" in receiver.received[1].body
