"""The control plane's process: one owner of the database, and everything that reads it."""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from gateway.banner import shown_address
from gateway.channel import Channel
from gateway.config import Settings, is_loopback
from gateway.control_plane import ControlState, build_app
from gateway.delivery import DeliveryLoop
from gateway.embedding_sample import EmbeddingSample
from gateway.embedding_work import EmbeddingWork
from gateway.errors import ConfigError
from gateway.log_works import LogWorks, open_log_works
from gateway.loops import WorkLoop
from gateway.monitor_loop import MonitorWork, build_monitors, is_caught_up
from gateway.paths import control_file
from gateway.settings import settings_from_message
from gateway.telemetry import Telemetry
from gateway.tracing import open_tracing
from monitors.verdicts import MONITOR
from router.clock import Clock, SystemClock
from router.tasks import TaskSet
from storage.database import Database
from storage.errors import DatabaseLocked
from storage.ids import IdSource
from storage.lock import WriterLock
from storage.records import End, WorkerStats

log = logging.getLogger(__name__)

_RELOAD_TIMEOUT_S = 10.0
_THREAD_STOP_S = 20.0
_ADDRESS_RETRY_S = 5.0
_HELD_TRIES = 20
_HELD_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """How the supervisor started this process."""

    data_dir: Path
    listening: socket.socket
    channel: socket.socket


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: the order of shutdown is the supervisor's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@dataclass(slots=True)
class ControlProcess:
    """Owns the database, the ingest and monitor threads, deliveries and the HTTP server."""

    options: ControlOptions
    clock: Clock = field(default_factory=SystemClock)
    _tasks: TaskSet = field(default_factory=TaskSet)
    _reloads: dict[int, asyncio.Future[list[str]]] = field(default_factory=dict)
    _state: ControlState | None = None
    _works: LogWorks | None = None
    _monitor: MonitorWork | None = None
    _embeddings: EmbeddingWork | None = None

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor is gone."""
        channel = await Channel.open(self.options.channel)
        first = await channel.receive()
        if first is None:
            return
        settings = settings_from_message(first, os.environ)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(channel.aclose)
            state = await self._open(settings, channel, stack)
            server = self._server(state)
            serving = self._tasks.start(server.serve(sockets=[self.options.listening]))
            self._leave_address(stack)
            channel.send("ready")
            await self._obey(channel)
            server.should_exit = True
            await asyncio.wait({serving}, timeout=5.0)

    async def _open(
        self, settings: Settings, channel: Channel, stack: AsyncExitStack
    ) -> ControlState:
        data_dir = self.options.data_dir
        lock = WriterLock(data_dir)
        lock.acquire()
        stack.callback(lock.release)
        database = await self._open_database()
        stack.callback(database.close)
        telemetry = Telemetry(settings)
        tracing = open_tracing(os.environ)
        if tracing is not None:
            stack.callback(tracing.close)
        sample = EmbeddingSample(random.Random())  # noqa: S311  (a draw of texts)
        tell = telemetry.observe_embeddings
        self._embeddings = EmbeddingWork(sample, settings, self.clock, tell=tell)
        works = await asyncio.to_thread(
            open_log_works,
            database,
            settings,
            telemetry,
            self.clock,
            partial(_observe, telemetry, tracing, self._embeddings),
        )
        self._works, repository, ingest = works, works.repository, works.ingest
        # Or the drift gauges would be empty from a restart until the next look.
        for route in settings.routes:
            telemetry.observe_verdicts(repository.latest_verdicts(route, MONITOR))
        ids = IdSource(self.clock.now_us)
        delivery = DeliveryLoop(repository, settings.alerts, self.clock, random.Random())  # noqa: S311  (jitter)
        monitors = build_monitors(settings, repository, telemetry, self.clock, ids.new_id)
        self._monitor = MonitorWork(
            monitors,
            self.clock,
            delivery=delivery,
            caught_up=lambda: is_caught_up(ingest.lag_bytes),
        )
        self._state = ControlState(
            settings=settings,
            clock=self.clock,
            repository=repository,
            telemetry=telemetry,
            monitor=monitors.drift,
            delivery=delivery,
            reload=lambda: self._ask_reload(channel),
            loops={},
            ingest=ingest.progress,
            lifecycle=works.lifecycle,
            is_local=is_loopback(shown_address(self.options.listening.getsockname())),
        )
        self._start_loops(stack)
        return self._state

    async def _open_database(self) -> Database:
        """Open it, or wait a while for who holds it: starting again would cost seconds of CPU."""
        opening = partial(Database.open_or_rebuild, self.options.data_dir, now_us=self.clock.now_us)
        for left in reversed(range(_HELD_TRIES)):
            try:
                database, aside = await asyncio.to_thread(opening)
                break
            except DatabaseLocked as error:
                if not left:
                    raise
                if left == _HELD_TRIES - 1:
                    log.error("requests are served, reports wait: %s", error)  # noqa: TRY400  (no fault of this program)
                await asyncio.sleep(_HELD_RETRY_S)
        if aside is not None:
            log.error("the database was damaged; it was set aside as %s and is rebuilt", aside)
        return database

    def _start_loops(self, stack: AsyncExitStack) -> None:
        state, works, monitor = self._state, self._works, self._monitor
        embeddings = self._embeddings
        assert state is not None
        assert works is not None
        assert monitor is not None
        assert embeddings is not None
        loops = {
            "ingest": WorkLoop("ingest", works.ingest.turn),
            "housekeeping": WorkLoop("housekeeping", works.housekeeping.turn),
            "monitors": WorkLoop("monitors", monitor.turn),
            "embeddings": WorkLoop("embeddings", partial(embeddings.turn, works.ingest.add_inputs)),
        }
        state.loops.update(loops)
        # Closed in reverse: deliveries, embeddings, monitors, housekeeping, ingest, then what is
        # left of the spool, its facts before its text.
        stack.callback(works.housekeeping.finish)
        stack.callback(works.ingest.finish)
        for loop in loops.values():
            stack.callback(loop.stop, _THREAD_STOP_S)
            loop.start()
        stack.push_async_callback(self._tasks.cancel)
        self._tasks.start(state.delivery.run())

    def _server(self, state: ControlState) -> QuietServer:
        config = uvicorn.Config(
            build_app(state),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        return QuietServer(config)

    def _leave_address(self, stack: AsyncExitStack) -> None:
        """Tell the command line where this server is."""
        host, port = self.options.listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        path = control_file(self.options.data_dir)
        address = msgspec.json.encode({"url": f"http://{shown}:{port}", "pid": os.getpid()})
        stack.callback(path.unlink, missing_ok=True)
        try:
            path.write_bytes(address)
        except OSError as error:
            log.error("cannot leave the address in %s (%s); trying again", path, error)  # noqa: TRY400  (no fault of this program)
            self._tasks.start(_write_when_there_is_room(path, address))

    async def _obey(self, channel: Channel) -> None:
        async for message in channel.messages():
            if message["kind"] == "drain":
                return
            if message["kind"] == "settings":
                self._take(message)
            elif message["kind"] == "reloaded":
                waiting = self._reloads.pop(message["number"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["problems"])

    def _take(self, message: Mapping[str, Any]) -> None:
        state, works, monitor = self._state, self._works, self._monitor
        if state is None or works is None or monitor is None:
            return
        try:
            settings = settings_from_message(message, os.environ)
        except ConfigError:
            log.exception("the configuration stays as it was")
            return
        ids = IdSource(self.clock.now_us)
        state.settings = settings
        works.housekeeping.reconfigure(settings)
        state.telemetry.reconfigure(settings)
        state.delivery.reconfigure(settings.alerts)
        monitors = build_monitors(
            settings, state.repository, state.telemetry, self.clock, ids.new_id
        )
        state.monitor = monitors.drift
        monitor.replace(monitors)
        if self._embeddings is not None:
            self._embeddings.reconfigure(settings)

    async def _ask_reload(self, channel: Channel) -> list[str]:
        number = len(self._reloads) + self.clock.now_us()
        answer = asyncio.get_running_loop().create_future()
        self._reloads[number] = answer
        channel.send("reload", number=number)
        try:
            return await asyncio.wait_for(answer, _RELOAD_TIMEOUT_S)
        except TimeoutError:
            return ["the supervisor did not answer; see its log"]
        finally:
            self._reloads.pop(number, None)


async def _write_when_there_is_room(path: Path, content: bytes) -> None:
    while True:
        await asyncio.sleep(_ADDRESS_RETRY_S)
        try:
            await asyncio.to_thread(path.write_bytes, content)
        except OSError:
            continue
        return


def _observe(
    telemetry: Telemetry,
    tracing: Any,
    embeddings: EmbeddingWork,
    ends: Sequence[End],
    stats: Sequence[WorkerStats],
) -> None:
    telemetry.observe(ends)
    telemetry.observe_stats(stats)
    embeddings.observe(ends)
    if tracing is not None:
        tracing.observe(ends)
