"""Whether the ingest keeps up, and what the control plane says of it."""

from types import SimpleNamespace
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gateway.api import health
from gateway.api.state import ApiState
from gateway.ingest_progress import STALLED_S, IngestProgress
from storage.ingest import IngestStep


class HandClock:
    """Shows the seconds it is given."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now_us(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> HandClock:
    """Give a clock that is moved by hand."""
    return HandClock()


@pytest.fixture
def progress(clock: HandClock) -> IngestProgress:
    """Give the progress of an ingest that has done nothing yet."""
    return IngestProgress(clock)


def test_lag_is_the_time_since_the_end_was_reached(
    progress: IngestProgress, clock: HandClock
) -> None:
    """A full batch leaves older records behind; one with room left does not."""
    clock.seconds = 105.0
    progress.observe(IngestStep(frames=9, lag_bytes=50, more=True), began_s=104.0)
    assert progress.health()[1:3] == (5.0, 50)
    progress.observe(IngestStep(frames=9), began_s=104.5)
    assert progress.health()[1:3] == (0.5, 0)


def test_steps_that_fail_are_a_stall_after_a_minute(
    progress: IngestProgress, clock: HandClock
) -> None:
    """The lag stays as it was seen last; the first step that works ends the stall."""
    progress.observe(IngestStep(lag_bytes=50, more=True), began_s=100.0)
    clock.seconds += STALLED_S
    progress.observe(IngestStep(failed="no space"), began_s=clock.seconds)
    assert not progress.health().stalled
    clock.seconds += 0.1
    assert progress.health()[2:4] == (50, "no space")
    assert progress.health().stalled
    progress.observe(IngestStep(), began_s=clock.seconds)
    assert not progress.health().stalled


def test_a_thread_that_hangs_is_a_stall(progress: IngestProgress, clock: HandClock) -> None:
    """Nobody needs to report that nothing is reported."""
    clock.seconds += STALLED_S + 1
    assert progress.health().stalled
    assert progress.health().lag_s == STALLED_S + 1


def test_the_control_plane_says_so(progress: IngestProgress, clock: HandClock) -> None:
    """`/readyz` is 503 while the ingest is stalled, `/healthz` is not."""
    app = FastAPI()
    app.include_router(health.router(cast("ApiState", SimpleNamespace(ingest=progress))))
    client = TestClient(app)
    assert client.get("/readyz").json()["status"] == "ok"
    clock.seconds += STALLED_S + 1
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ingest_lag_s"]) == (503, STALLED_S + 1)
    assert client.get("/healthz").status_code == 200
