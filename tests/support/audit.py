"""An outside audit: what clients were told, against what the database says."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import httpx2

PROMPTS = ("Name a colour.", "Count to three.", "Say hello in French.", "What is two plus two?")


@dataclass
class Ledger:
    """What the clients saw.

    Attributes
    ----------
    acknowledged : list of str
        Ids of answers that arrived complete.
    begun : set of str
        Ids of answers whose first byte arrived, complete or not.
    failed : Counter
        Requests without a complete answer, by route.
    answered : Counter
        Requests with one, by route.
    """

    acknowledged: list[str] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    failed: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)


async def one_request(
    client: httpx2.AsyncClient, ledger: Ledger, route: str, draw: random.Random
) -> None:
    """Send one request, streamed or not, and note what came back."""
    stream = draw.random() < 0.5
    body = {
        "model": route,
        "messages": [{"role": "user", "content": draw.choice(PROMPTS)}],
        "stream": stream,
        "max_tokens": 8,
    }
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            identity = answer.headers.get("x-driftgate-id")
            text = ""
            async for piece in answer.aiter_text():
                if identity:
                    ledger.begun.add(identity)
                text += piece
    except httpx2.TransportError:
        ledger.failed[route] += 1
        return
    complete = answer.status_code == 200 and (not stream or "[DONE]" in text)
    if identity and (complete or not stream or '"error"' in text):
        # An honest error is an acknowledgement too: it has its row.
        ledger.acknowledged.append(identity)
    (ledger.answered if complete else ledger.failed)[route] += 1


async def load(url: str, ledger: Ledger, routes: dict[str, int], stop: asyncio.Event) -> None:
    """Keep so many requests of each route under way until told to stop."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits) as client:

        async def worker(route: str, seed: int) -> None:
            draw = random.Random(seed)
            while not stop.is_set():
                failures = ledger.failed[route]
                await one_request(client, ledger, route, draw)
                # A dead worker refuses in microseconds: do not spin while it comes back.
                await asyncio.sleep(0.05 if ledger.failed[route] > failures else 0)

        async with asyncio.TaskGroup() as group:
            for route, count in routes.items():
                for number in range(count):
                    group.create_task(worker(route, hash((route, number)) & 0xFFFF))


def stored_ids(data_dir: Path) -> Counter[str]:
    """Return how often each prediction id stands in the database."""
    with duckdb.connect(str(data_dir / "driftgate.duckdb"), read_only=True) as connection:
        return Counter(
            dict(
                connection.execute(
                    "SELECT id::VARCHAR, count(*) FROM predictions GROUP BY 1"
                ).fetchall()
            )
        )


def verdict(ledger: Ledger, data_dir: Path) -> dict[str, int]:
    """Return the audit: acknowledged, lost, duplicated, and begun answers without a row.

    `interrupted` are the rows of answers that were cut by a kill.
    """
    stored = stored_ids(data_dir)
    with duckdb.connect(str(data_dir / "driftgate.duckdb"), read_only=True) as connection:
        cut = connection.execute(
            "SELECT count(*) FROM predictions WHERE reason = 'interrupted'"
        ).fetchall()[0][0]
    return {
        "acknowledged": len(set(ledger.acknowledged)),
        "lost": sum(1 for identity in set(ledger.acknowledged) if identity not in stored),
        "duplicated": sum(1 for count in stored.values() if count > 1),
        "begun_without_row": sum(1 for identity in ledger.begun if identity not in stored),
        "interrupted": cut,
    }
