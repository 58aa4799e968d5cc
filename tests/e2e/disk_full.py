"""The program that `test_disk_full.py` starts: a whole gateway on a small disk of its own."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import psutil
from support.fake_upstream import FakeUpstream
from support.running import RunningGateway

CONFIG = """
gateway: {{workers: 1}}
upstreams:
  up: {{url: "{url}"}}
routes:
  chat: {{split: {{up: 1.0}}}}
record: {{on_full: {policy}, segment_bytes: 1048576}}
"""
AT_ONCE = 24
TAGS = ",".join(f"k{number:02}={'v' * 60}" for number in range(16))
BODY_BYTES = 20_000
FILLED_LIMIT_S = 20.0


class Clients:
    """Send requests at once, and keep what each was told."""

    def __init__(self, gateway: RunningGateway, client: httpx2.AsyncClient) -> None:
        self.gateway = gateway
        self.client = client
        self.answered: list[str] = []
        self.refused: Counter[str] = Counter()
        self.text = "x" * BODY_BYTES

    async def send(self) -> None:
        """Send one request, every third one streamed."""
        number = len(self.answered) + self.refused.total()
        body = {
            "model": "chat",
            "messages": [{"role": "user", "content": self.text}],
            "stream": number % 3 == 0,
        }
        headers = {"x-driftgate-tags": TAGS}
        answer = await self.client.post("/v1/chat/completions", json=body, headers=headers)
        if answer.status_code == httpx2.codes.OK:
            assert not body["stream"] or "[DONE]" in answer.text
            self.answered.append(answer.headers["x-driftgate-id"])
        else:
            self.refused[f"{answer.status_code} {answer.json()['error']['code']}"] += 1

    async def send_until(self, is_enough: Callable[[], bool], limit_s: float) -> None:
        """Send until there is enough, `AT_ONCE` at a time."""
        deadline_s = time.monotonic() + limit_s
        while not is_enough() and time.monotonic() < deadline_s:
            await asyncio.gather(*[self.send() for _ in range(AT_ONCE)])

    async def metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        answer = await self.client.get(f"{self.gateway.control_url}/metrics")
        lines = [line for line in answer.text.splitlines() if line.startswith(f"driftgate_{name}")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def caught_up(self, limit_s: float) -> None:
        """Wait until every answer has its row, or was said to be unlogged."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            with suppress(httpx2.TransportError):  # It may not have started yet.
                rows = await self.metric("ingested_records_total")
                if rows + await self.metric("unlogged_predictions_total") >= len(self.answered):
                    return
            await asyncio.sleep(0.2)


def fill(path: Path) -> None:
    """Take all space that is left."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65_536))
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


def children_of(gateway: RunningGateway) -> list[int]:
    """Return the processes of the gateway."""
    return sorted(child.pid for child in psutil.Process(gateway.process.pid).children())


async def scenario(gateway: RunningGateway, policy: str) -> dict[str, Any]:
    """Serve, fill the disk, serve on, make room, serve on; tell what happened."""
    ballast = gateway.data_dir.parent / "ballast"
    told: dict[str, Any] = {"processes": children_of(gateway)}
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(base_url=gateway.data_url, timeout=30, limits=limits) as client:
        clients = Clients(gateway, client)
        await clients.send_until(lambda: len(clients.answered) >= AT_ONCE, 10)
        await clients.caught_up(20)
        await asyncio.to_thread(fill, ballast)
        before = len(clients.answered)
        if policy == "fail_closed":
            enough = lambda: clients.refused.total() >= AT_ONCE  # noqa: E731
        else:
            enough = lambda: "full or failing" in gateway.log  # noqa: E731
        await clients.send_until(enough, FILLED_LIMIT_S)
        if policy == "fail_open":
            # Facts alone, until the reserve is spent and answers go without a record.
            clients.text = "x"
            await clients.send_until(lambda: len(clients.answered) >= before + 900, FILLED_LIMIT_S)
            clients.text = "x" * BODY_BYTES
        told["answered_while_full"] = len(clients.answered) - before
        told["refused"] = dict(clients.refused)
        told["control_while_full"] = (await client.get(f"{gateway.control_url}/readyz")).status_code
        ballast.unlink()
        await asyncio.sleep(2.5)
        clients.refused.clear()
        before = len(clients.answered)
        await clients.send_until(lambda: len(clients.answered) >= before + 2 * AT_ONCE, 10)
        told["after"] = clients.answered[before:]
        told["refused_after"] = dict(clients.refused)
        await clients.caught_up(10)
        told["unlogged"] = await clients.metric("unlogged_predictions_total")
        told["payloads_dropped"] = await clients.metric("payloads_dropped_total")
        told["still_the_same"] = told.pop("processes") == children_of(gateway)
        told["answered"] = clients.answered
    return told


def run(directory: Path, policy: str) -> dict[str, Any]:
    """Run the scenario and read the database afterwards."""
    data_dir = directory / "data"
    with FakeUpstream() as upstream:
        config = CONFIG.format(url=upstream.url, policy=policy)
        with RunningGateway(data_dir, config) as gateway:
            told = asyncio.run(scenario(gateway, policy))
            told["exit"] = gateway.terminate()
            told["log"] = gateway.log
        told["model_calls"] = len(upstream.requests)
    with duckdb.connect(str(data_dir / "driftgate.duckdb"), read_only=True) as connection:
        told["rows"] = connection.execute(
            "SELECT id::VARCHAR, reason, has_payload FROM predictions"
        ).fetchall()
        told["losses"] = connection.execute("SELECT kind, bytes FROM spool_losses").fetchall()
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]), sys.argv[2])))
