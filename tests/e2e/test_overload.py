"""Ten times the rate that can be served, through a real worker in front of a slow upstream."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from support.fake_answers import Pause, SeenRequest, Step, ok
from support.fake_upstream import FakeUpstream
from support.hammer import Hammer, Hammered
from support.running import RunningGateway

PLACES = 4
SERVICE_S = 0.4  # long beside what a busy machine adds, so that capacity is what it says
CAPACITY = PLACES / SERVICE_S  # requests a second
OVERLOAD_S = 8.0
BODY = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hello"}]}).encode()
CONFIG = """
gateway: {{limits: {{in_flight: {in_flight}, queue: {queue}, queue_wait: 1s}}}}
upstreams:
  a: {{url: "{url}", max_concurrency: {places}, max_queue: 200}}
routes:
  chat: {{split: {{a: 1}}, timeouts: {{connect: 1s}}}}
"""
UPSTREAM_IS_FULL = {"in_flight": 2000, "queue": 2000, "places": PLACES}
GATEWAY_IS_FULL = {"in_flight": PLACES, "queue": 200, "places": 256}


def slow(request: SeenRequest) -> Iterator[Step]:
    """Answer after a while."""
    yield Pause(SERVICE_S)
    yield from ok(request)


@dataclass
class Seen:
    """What the clients saw.

    Attributes
    ----------
    answers : list of tuple
        Status, code of the error, Retry-After, seconds taken, and seconds since the beginning.
    """

    answers: list[tuple[int, str | None, str | None, float, float]] = field(default_factory=list)

    def statuses(self) -> Counter[int]:
        """Count the statuses."""
        return Counter(answer[0] for answer in self.answers)


async def ask(url: str, seen: Seen, began_s: float) -> None:
    """Send one request on a connection of its own."""
    host, port = url.removeprefix("http://").split(":")
    sent_s = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        )
        answer = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in fields)}
    code = json.loads(body).get("error", {}).get("code")
    now_s = time.monotonic()
    answered = (int(status.split()[1]), code, headers.get("retry-after"))
    seen.answers.append((*answered, now_s - sent_s, now_s - began_s))


async def overload(url: str, rate: float, duration_s: float) -> Seen:
    """Send requests at a rate, whatever becomes of those before."""
    seen, began_s = Seen(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * duration_s)):
            await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
            group.create_task(ask(url, seen, began_s))
    return seen


def memory_bytes(gateway: RunningGateway) -> int:
    """Return what the worker holds."""
    return int(gateway.child("_worker").memory_info().rss)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "refusal"),
    [(UPSTREAM_IS_FULL, (429, "upstream_busy")), (GATEWAY_IS_FULL, (503, "overloaded"))],
    ids=["upstream is full", "gateway is full"],
)
def test_ten_times_the_rate_that_can_be_served(
    tmp_path: Path, limits: dict[str, int], refusal: tuple[int, str]
) -> None:
    """Goodput stays at 80 % of capacity, the rest is told when to come back, nothing grows."""
    with FakeUpstream(slow) as upstream:
        config = CONFIG.format(url=upstream.url, **limits)
        with RunningGateway(tmp_path / "data", config) as gateway:
            asyncio.run(overload(gateway.data_url, 10 * CAPACITY, 2.0))
            before_bytes = memory_bytes(gateway)
            seen = asyncio.run(overload(gateway.data_url, 10 * CAPACITY, OVERLOAD_S))
            after_bytes = memory_bytes(gateway)
            time.sleep(1.0)
            after = asyncio.run(overload(gateway.data_url, 5, 1.0))
            metrics = httpx2.get(f"{gateway.control_url}/metrics", timeout=10).text
    statuses = seen.statuses()
    assert set(statuses) == {200, refusal[0]}
    refused = [answer for answer in seen.answers if answer[0] != 200]
    assert {answer[1] for answer in refused} == {refusal[1]}
    assert all(answer[2] is not None and int(answer[2]) >= 1 for answer in refused)
    served = [answer for answer in seen.answers if answer[0] == 200 and answer[4] <= OVERLOAD_S]
    assert len(served) >= 0.8 * CAPACITY * OVERLOAD_S
    # The wait allowed, the service, and what a busy machine adds.
    assert max(answer[3] for answer in served) <= 1.0 + SERVICE_S + 2.0
    assert after_bytes - before_bytes < 16 * 1024 * 1024
    assert after.statuses() == {200: 5}
    assert max(answer[3] for answer in after.answers) < SERVICE_S + 1.0
    assert f'reason="{refusal[1]}"' in metrics
    assert "driftgate_event_loop_lag_seconds{" in metrics


@pytest.mark.slow
def test_short_burst_is_served_whole(tmp_path: Path) -> None:
    """Twice as many at once as there are places wait for their turn; none is refused."""
    with FakeUpstream(slow) as upstream:
        config = CONFIG.format(url=upstream.url, **UPSTREAM_IS_FULL)
        with RunningGateway(tmp_path / "data", config) as gateway:
            seen = asyncio.run(overload(gateway.data_url, 1000, 2 * PLACES / 1000))
    assert seen.statuses() == {200: 2 * PLACES}


FEW, MANY = 32, 1_000
HAMMER_S = 3.0
HAMMER_ROUNDS = 2


@dataclass
class Work:
    """What a worker did for its processor's time."""

    answers: int = 0
    cpu_s: float = 0.0


async def _hammer(
    hammer: Hammer, gateway: RunningGateway, connections: int, work: Work
) -> tuple[Hammered, float]:
    """Hammer for a while; return what came of it, and how long `/readyz` took meanwhile."""
    worker = gateway.child("_worker")
    before = worker.cpu_times()
    running = asyncio.create_task(hammer.run(gateway.data_url, connections, HAMMER_S))
    await asyncio.sleep(0.8 * HAMMER_S)
    began_s = time.monotonic()
    async with httpx2.AsyncClient(timeout=20) as client:
        ready = await client.get(f"{gateway.data_url}/readyz")
    ready_s = time.monotonic() - began_s
    assert ready.status_code == 200
    seen = await running
    after = worker.cpu_times()
    work.answers += seen.statuses[200]
    work.cpu_s += after.user + after.system - before.user - before.system
    return seen, ready_s


async def _few_and_many(path: Path) -> None:
    few, many, held_bytes = Work(), Work(), []
    async with Hammer() as hammer:
        config = f"upstreams: {{a: {{url: '{hammer.url}'}}}}\nroutes: {{chat: {{split: {{a: 1}}}}}}"
        with RunningGateway(path, config) as gateway:
            for _ in range(HAMMER_ROUNDS):
                await _hammer(hammer, gateway, FEW, few)
                seen, ready_s = await _hammer(hammer, gateway, MANY, many)
                held_bytes.append(memory_bytes(gateway))
                assert set(seen.statuses) <= {200, 503}
                assert seen.statuses[503] < 0.1 * seen.statuses[200]
                assert seen.served == MANY
                # Nobody waits longer than allowed, and what a busy machine adds.
                assert seen.longest_s < 5.0 + 3.0
                assert ready_s < 3.0
    assert many.answers / many.cpu_s >= 0.6 * few.answers / few.cpu_s
    assert held_bytes[-1] - held_bytes[0] < 16 * 1024 * 1024


@pytest.mark.slow
def test_clients_that_hammer_leave_the_worker_its_work(tmp_path: Path) -> None:
    """With 1,000 connections a worker's processor does not answer much less than with 32.

    Measured by the worker's own time: what other processes take of the machine changes nothing.
    New clients come in, and nothing grows.
    """
    asyncio.run(_few_and_many(tmp_path / "data"))
