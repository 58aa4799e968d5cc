"""Receivers and processes that fail: no notification is lost, none comes again under another id."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.alert_kit import HOUR_S, Outbox, change, webhook
from support.empty_log import open_empty_log
from support.webhook_receiver import Received, Receiver, Reply, receiving, wait_until

from monitors.alerts.outbox import heads
from storage.database import Database
from storage.repository import Repository

ROOT = Path(__file__).parents[2]
ROUTES = [f"r{n}" for n in range(3)]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


def until_quiet(outbox: Outbox, hours: float) -> None:
    """Let time pass to each try in turn, until nothing waits or the hours are over."""
    end_s = outbox.clock.now_s + hours * HOUR_S
    while (pending := outbox.repository.pending_deliveries()) and outbox.clock.now_s < end_s:
        next_s = (min(d.next_at for d in heads(pending)) - outbox.clock.now_us()) / 1e6
        outbox.clock.now_s += max(next_s, 10.0)
        outbox.turn()


def told(received: list[Received]) -> dict[tuple[str, str], set[str]]:
    """Return the ids under which each (route, event) came."""
    found: dict[tuple[str, str], set[str]] = {}
    for request in received:
        body = json.loads(request.body)
        key = (body["data"]["route"], body["type"])
        found.setdefault(key, set()).add(request.headers["webhook-id"])
    return found


def each_once(received: list[Received], *events: str) -> bool:
    """Say whether every route's events came, each under one id of its own."""
    found = told(received)
    ids = [one for ids in found.values() for one in ids]
    wanted = {(route, f"drift.{event}") for route in ROUTES for event in events}
    return found.keys() == wanted and len(ids) == len(set(ids)) == len(wanted)


@pytest.mark.parametrize(
    "fault",
    [
        Reply(500),
        Reply(429, {"retry-after": "90"}),
        Reply(400),
        Reply(close=True),
        Reply(torn=True),
    ],
    ids=["500", "429", "400", "killed before its answer", "killed in its answer"],
)
def test_a_receiver_that_fails_for_an_hour_misses_nothing(
    repository: Repository, fault: Reply
) -> None:
    """Whatever it does in that hour: three episodes open and end, and each is told under one id."""
    with receiving() as receiver:
        receiver.always = fault
        outbox = Outbox(repository, [webhook(receiver.url)])
        outbox.raise_(*(change("opened", route=route) for route in ROUTES))
        outbox.turn()
        until_quiet(outbox, 0.9)
        outbox.raise_(*(change("resolved", route=route) for route in ROUTES))
        tries = len(receiver.received)
        receiver.always = Reply()
        until_quiet(outbox, 24)
    assert tries >= len(ROUTES)
    assert each_once(receiver.received, "opened", "resolved")
    assert repository.pending_deliveries() == repository.dead_deliveries() == []


def test_a_receiver_that_is_down_for_an_hour_misses_nothing(repository: Repository) -> None:
    """Nobody listens on its port; then somebody does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outbox = Outbox(repository, [webhook(f"http://127.0.0.1:{port}/hook")])
    outbox.raise_(*(change("opened", route=route) for route in ROUTES))
    outbox.turn()
    until_quiet(outbox, 1.0)
    assert {d.tries for d in repository.pending_deliveries()} <= {3, 4}
    with receiving(port) as receiver:
        until_quiet(outbox, 24)
    assert each_once(receiver.received, "opened")
    assert len(receiver.received) == len(ROUTES)


def test_a_receiver_that_times_out_misses_nothing(repository: Repository) -> None:
    """It took each, and said so too late: they come again under their ids."""
    with receiving() as receiver:
        receiver.always = Reply(delay_s=0.7)
        outbox = Outbox(repository, [webhook(receiver.url)], timeout_s=0.5)
        outbox.raise_(*(change("opened", route=route) for route in ROUTES))
        outbox.turn()
        outbox.turn()
        receiver.always = Reply()
        until_quiet(outbox, 24)
    assert each_once(receiver.received, "opened")
    assert max(Counter(receiver.ids).values()) == 2


def test_what_a_gone_receiver_did_not_get_can_be_replayed(repository: Repository) -> None:
    """410 gives up on all, under their ids, and loses none."""
    with receiving() as receiver:
        receiver.always = Reply(410)
        outbox = Outbox(repository, [webhook(receiver.url)])
        outbox.raise_(*(change("opened", route=route) for route in ROUTES))
        until_quiet(outbox, 24)
        dead = {delivery.id for delivery in repository.dead_deliveries()}
        assert len(dead) == len(ROUTES)
        receiver.received.clear()
        receiver.always = Reply()
        assert len(asyncio.run(outbox.loop.replay_dead())) == len(ROUTES)
        until_quiet(outbox, 24)
        assert each_once(receiver.received, "opened")
        assert set(receiver.ids) == dead


PROGRAM = """
import asyncio, sys
from pathlib import Path
from support.alert_kit import MovingClock, Outbox, change, webhook
from storage.database import Database
from storage.repository import Repository

clock = MovingClock()
database = Database.open(Path(sys.argv[1]), now_us=clock.now_us)
outbox = Outbox(Repository(database), [webhook(sys.argv[2])], clock)
routes = [f"r{n}" for n in range(3)]
if sys.argv[3] == "raise":
    outbox.raise_(*(change("opened", route=route) for route in routes))
print("ready", flush=True)
asyncio.run(outbox.loop.run())
"""


def test_our_own_death_between_sending_and_writing_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL while receivers hold their answers, twice: each comes, under one id."""
    draw = random.Random(1)
    open_empty_log(tmp_path).close()
    with receiving() as receiver:
        for round_ in range(2):
            seen = len(receiver.received)
            receiver.always = Reply(delay_s=draw.uniform(0.0, 0.15))
            _run_and_kill(tmp_path, receiver, first=round_ == 0, after=seen + draw.randint(1, 2))
        receiver.always = Reply()
        database = Database.open(tmp_path, now_us=_now_us)
        outbox = Outbox(Repository(database), [webhook(receiver.url)])
        until_quiet(outbox, 24)
        left = outbox.repository.pending_deliveries()
        database.close()
    assert left == []
    assert each_once(receiver.received, "opened")
    assert max(Counter(receiver.ids).values()) > 1


def _now_us() -> int:
    return 1_790_000_000_000_000


def _run_and_kill(data: Path, receiver: Receiver, *, first: bool, after: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data), receiver.url, "raise" if first else "go on"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        _wait_a_while(lambda: len(receiver.received) >= after)
        os.kill(process.pid, signal.SIGKILL)


def _wait_a_while(condition: Callable[[], bool]) -> None:
    """Wait for something that need not happen: all may have been told."""
    try:
        wait_until(condition, 1.0)
    except AssertionError:
        return
