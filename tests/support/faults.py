"""A gateway under a light load, whose files somebody damages; and what is left, counted."""

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import httpx2
from support.audit import Ledger, one_request
from support.running import RunningGateway

from storage.database import FILE_NAME, Database

PAUSE_S = 0.03
_PATIENCE_S = 30.0


class LightLoad:
    """Sends a request every now and then, from a thread, until it is left.

    Attributes
    ----------
    ledger : Ledger
    """

    def __init__(self, url: str, routes: tuple[str, ...] = ("chat",)) -> None:
        self.ledger = Ledger()
        self._url = url
        self._routes = routes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))

    async def _send(self) -> None:
        draw = random.Random(7)
        async with httpx2.AsyncClient(base_url=self._url, timeout=30) as client:
            while not self._stop.is_set():
                await one_request(client, self.ledger, draw.choice(self._routes), draw)
                await asyncio.sleep(PAUSE_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()


def await_that(what: Callable[[], bool], gateway: RunningGateway, why: str) -> None:
    """Wait until something is so.

    Raises
    ------
    AssertionError
        It was not within half a minute.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < deadline_s, f"{why}; the gateway said:\n{gateway.log}"
        time.sleep(0.05)


def stored_now(gateway: RunningGateway) -> set[str]:
    """Return the ids that the running control plane has rows of; none while it is down."""
    asked = {"sql": "SELECT id::VARCHAR FROM predictions", "limit": 100_000}
    try:
        answer = httpx2.post(f"{gateway.control_url}/api/v1/sql", json=asked, timeout=5)
        answer.raise_for_status()
    except httpx2.HTTPError:
        return set()
    return {identity for (identity,) in answer.json()["rows"]}


def await_stored(gateway: RunningGateway, load: LightLoad) -> None:
    """Wait until all that has been acknowledged by now has its row."""
    wanted = set(load.ledger.acknowledged)
    await_that(lambda: wanted <= stored_now(gateway), gateway, f"{len(wanted)} ids not all stored")


def flip(path: Path, start: float, length_bytes: int = 64) -> None:
    """Turn all bits of a piece of a file that begins at a share of its size."""
    with path.open("r+b") as file:
        position = int(path.stat().st_size * start)
        file.seek(position)
        piece = file.read(length_bytes)
        file.seek(position)
        file.write(bytes(one ^ 0xFF for one in piece))
        os.fsync(file.fileno())


def count_all(data_dir: Path) -> dict[str, Any]:
    """Read the directory of a gateway that has ended.

    Returns
    -------
    dict
        `ids` and how many `rows` have them; `by_status` of the facts and of the roll-ups;
        `without_text`: predictions whose payload cannot be read; `losses` by kind; `aside`:
        names of the files set aside.
    """
    database = Database.open_read_only(data_dir)
    try:
        with database.cursor() as cursor:
            return _count(cursor) | {
                "aside": sorted(p.name for p in data_dir.glob(f"{FILE_NAME}.damaged-*"))
            }
    finally:
        database.close()


def _count(cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    ids = [one for (one,) in cursor.execute("SELECT id::VARCHAR FROM predictions").fetchall()]
    return {
        "ids": set(ids),
        "rows": len(ids),
        "facts": _by_status(cursor, "predictions", "count(*)"),
        "rollups": _by_status(cursor, "rollup_counts", "sum(n)::BIGINT"),
        "without_text": cursor.execute(
            "SELECT count(*) FROM predictions WHERE has_payload AND id NOT IN"
            " (SELECT id FROM payloads WHERE request IS NOT NULL)"
        ).fetchall()[0][0],
        "texts": cursor.execute("SELECT count(*), count(DISTINCT id) FROM payloads").fetchall()[0],
        "losses": cursor.execute("SELECT kind, source FROM spool_losses").fetchall(),
    }


def _by_status(cursor: duckdb.DuckDBPyConnection, table: str, number: str) -> dict[str, int]:
    found = cursor.execute(
        f"SELECT route, status, coalesce(reason, ''), {number} FROM {table} GROUP BY 1, 2, 3"  # noqa: S608  (our names)
    ).fetchall()
    return {f"{route} {status} {reason}".strip(): count for route, status, reason, count in found}
