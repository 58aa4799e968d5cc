"""Every test is watched: what it leaves running, and what holds up its event loop."""

import gc
import inspect
import logging
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from blockbuster import BlockBuster, BlockBusterFunction
from hypothesis import settings

from storage.database import Database
from storage.ingest import Ingester
from storage.repository import Repository
from storage.text.archive import TextArchive

# A busy machine is no fault of the code: `timeout` bounds the whole test.
settings.register_profile("usual", settings.default, deadline=None)
settings.load_profile("usual")
# For nights: `pytest --hypothesis-profile=long tests/storage/test_spool_machine.py`.
settings.register_profile("long", max_examples=2_000, deadline=None)

# Threads, processes and sockets end a moment after what closed them returns.
_GRACE_S = 3.0
_ROOMS = ["gateway", "router", "storage", "stats", "monitors", "dashboards", "local_engine"]
# Blockbuster does not see inside DuckDB, so what leads to it is named; reading needs a cursor.
_DATABASE = (Database, Ingester, Repository, TextArchive)
_INSTANT = {"statistics"}
# Where waiting on a loop is the design.
_DELIBERATE = [
    # An answer follows its record: one append to the page cache a turn, a new file after a fault.
    ("storage/segment_log.py", {"write", "recover"}),
    # Before the first request and after the last.
    ("storage/spool.py", {"open", "close"}),
    # A line to stderr.
    ("logging/__init__.py", {"emit"}),
]


class Leftovers:
    """What runs in this process now, by name."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._now()

    def found(self) -> list[str]:
        """Return what has come since and does not go within the grace."""
        deadline_s = time.monotonic() + _GRACE_S
        while left := [name for key, name in self._now().items() if key not in self._before]:
            if time.monotonic() > deadline_s:
                break
            gc.collect()
            time.sleep(0.01)
        return left

    def _now(self) -> dict[object, str]:
        threads = {
            one.ident: f"thread `{one.name}`" for one in threading.enumerate() if not one.daemon
        }
        children = {child: _command(child) for child in self._process.children()}
        listening = {
            (one.fd, one.laddr): f"listening socket {one.laddr}"
            for one in self._process.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        }
        return {**threads, **children, **listening}


def _command(child: psutil.Process) -> str:
    try:
        return f"process {child.pid} `{' '.join(child.cmdline())[:200]}`"
    except psutil.NoSuchProcess:
        return f"process {child.pid}"


class LostTasks(logging.Handler):
    """Collects what asyncio says of tasks that nobody waited for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message about a lost task."""
        message = record.getMessage()
        if "was destroyed but it is pending" in message or "was never retrieved" in message:
            self.found.append(message)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves threads, processes, listening sockets or lost tasks behind."""
    lost = LostTasks()
    logger = logging.getLogger("asyncio")
    logger.addHandler(lost)
    leftovers = Leftovers()
    yield
    left = leftovers.found()
    logger.removeHandler(lost)
    assert left + lost.found == []


@pytest.fixture(autouse=True, scope="session")
def nothing_blocks() -> Iterator[None]:
    """Raise `BlockingError` in code of ours that waits, or asks the database, on an event loop."""
    blockbuster = BlockBuster(scanned_modules=_ROOMS)
    for owner in _DATABASE:
        for name, _ in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_") and name not in _INSTANT:
                function = BlockBusterFunction(owner, name, scanned_modules=_ROOMS)
                blockbuster.functions[f"{owner.__name__}.{name}"] = function
    for function in blockbuster.functions.values():
        for filename, names in _DELIBERATE:
            function.can_block_in(filename, names)
    blockbuster.activate()
    yield
    blockbuster.deactivate()
