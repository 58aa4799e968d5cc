import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.running import ROOT

from gateway.children import Child, ChildSpec, restart_delay_s
from router.clock import SystemClock

CONFIG = 'upstreams: {a: {url: "http://127.0.0.1:9"}}\nroutes: {m: {split: {a: 1.0}}}'
Drive = Callable[[Child, list[dict[str, Any]]], Awaitable[None]]


@given(st.integers(0, 100_000), st.floats(0.1, 300.0))
def test_delay_doubles_up_to_its_bound(failures: int, bound_s: float) -> None:
    """The wait grows with every failure, never past its bound, after any number of them."""
    delay_s = restart_delay_s(failures, bound_s)
    assert 0.0 < delay_s <= bound_s
    assert delay_s <= restart_delay_s(failures + 1, bound_s)
    assert math.isclose(delay_s, min(bound_s, 0.1 * 2.0 ** min(40, max(0, failures - 1))))


def greeting(text: str = CONFIG) -> dict[str, Any]:
    """Return what the supervisor tells a worker first."""
    return {"text": text, "source": "test.yaml", "engine_ready": False}


def worker_spec(directory: Path, listening: socket.socket, **values: Any) -> ChildSpec:
    """Return how a real worker is started."""
    command = ["_worker", "--name", "w0", "--fd", str(listening.fileno())]
    command += ["--data-dir", str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    fds = [listening.fileno()]
    return ChildSpec("worker", command, fds, environment=environment, **values)


def drive(spec: ChildSpec, steps: Drive, text: str = CONFIG) -> None:
    """Run a child while steps are taken; it must have ended afterwards."""

    async def both() -> None:
        messages: list[dict[str, Any]] = []

        async def keep(_: Child, message: dict[str, Any]) -> None:
            messages.append(message)

        child = Child(spec, keep, SystemClock())
        running = asyncio.get_running_loop().create_task(child.run(lambda: greeting(text)))
        try:
            async with asyncio.timeout(40):
                await steps(child, messages)
                await child.stop(5.0)
                await running
        finally:
            child.kill()
            running.cancel()
        assert child.pid is None

    asyncio.run(both())


def test_child_that_dies_is_started_again(tmp_path: Path) -> None:
    """A child that is killed comes back, and says that it is ready again."""

    async def steps(child: Child, messages: list[dict[str, Any]]) -> None:
        await child.ready.wait()
        first = child.pid
        child.kill()
        while child.pid in {first, None}:  # noqa: ASYNC110  (the pid is no event)
            await asyncio.sleep(0.01)
        await child.ready.wait()
        assert child.restarts == 1
        assert [message["kind"] for message in messages] == ["ready", "ready"]

    with socket.create_server(("127.0.0.1", 0)) as listening:
        drive(worker_spec(tmp_path, listening), steps)


def test_hopeless_child_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A child whose exit code says that it cannot work is not started again."""

    async def steps(child: Child, _: list[dict[str, Any]]) -> None:
        while not caplog.records:  # noqa: ASYNC110  (a log is no event)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert child.restarts == 0

    with caplog.at_level(logging.ERROR), socket.create_server(("127.0.0.1", 0)) as listening:
        drive(worker_spec(tmp_path, listening, hopeless=(2,)), steps, text="not: a configuration")
    assert "ended for good (exit code 2)" in caplog.text


def test_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """One that takes no notice of the end is killed at the deadline, not waited for."""

    async def steps(child: Child, _: list[dict[str, Any]]) -> None:
        await child.ready.wait()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        started_s = time.monotonic()
        await child.stop(0.2)
        assert time.monotonic() - started_s < 4.0

    with socket.create_server(("127.0.0.1", 0)) as listening:
        drive(worker_spec(tmp_path, listening), steps)


def test_stop_between_two_starts_does_not_wait(tmp_path: Path) -> None:
    """A child that is down when the end comes is not waited for, nor started once more."""

    async def steps(child: Child, _: list[dict[str, Any]]) -> None:
        while child.restarts < 1:  # noqa: ASYNC110  (a count is no event)
            await asyncio.sleep(0.01)
        started_s = time.monotonic()
        await child.stop(30.0)
        assert time.monotonic() - started_s < 5.0

    with socket.create_server(("127.0.0.1", 0)) as listening:
        spec = worker_spec(tmp_path, listening, max_delay_s=60.0)
        drive(spec, steps, text="not: a configuration")


def test_abandoned_child_speaks_no_last_words(tmp_path: Path) -> None:
    """Whoever asks twice for the end does not wait for a child to start once more."""

    async def steps(child: Child, _: list[dict[str, Any]]) -> None:
        while child.restarts < 1:  # noqa: ASYNC110  (a count is no event)
            await asyncio.sleep(0.01)
        started_s = time.monotonic()
        stopping = asyncio.get_running_loop().create_task(child.stop(30.0))
        await asyncio.sleep(0.1)
        child.abandon()
        await stopping
        assert time.monotonic() - started_s < 5.0

    with socket.create_server(("127.0.0.1", 0)) as listening:
        spec = worker_spec(tmp_path, listening, max_delay_s=60.0, has_last_words=True)
        drive(spec, steps, text="not: a configuration")


def test_program_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """When the machine refuses a new process the next try comes, as after a death."""
    listening = socket.create_server(("127.0.0.1", 0))
    spec = worker_spec(tmp_path, listening)
    too_long = {"PADDING": "x" * 10_000_000}  # more than the kernel takes (E2BIG)
    spec = ChildSpec(spec.name, spec.command, spec.fds, environment=too_long, max_delay_s=0.05)

    async def steps(child: Child, _: list[dict[str, Any]]) -> None:
        while child.restarts < 3:  # noqa: ASYNC110  (a count is no event)
            await asyncio.sleep(0.01)

    with listening:
        drive(spec, steps)
