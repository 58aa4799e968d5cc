"""The data plane's process: opens what a worker owns, serves, and closes it in reverse."""

import logging
import os
import random
import socket
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.cache import ResponseCache
from gateway.channel import Channel
from gateway.config import Settings
from gateway.data_plane import DataPlane, refusal_body
from gateway.errors import ConfigError
from gateway.heartbeat import Heartbeat
from gateway.loop_lag import LoopLag
from gateway.model_list import ModelList
from gateway.overload import OverloadGate
from gateway.paths import engine_socket, spool_dir
from gateway.server import Server
from gateway.settings import settings_from_message
from gateway.snapshot import Snapshot, build_snapshot
from gateway.upstreams import UpstreamSet
from router.clock import Clock, SystemClock
from router.plan import build_table
from router.tasks import TaskSet
from storage.ids import IdSource
from storage.spool import Spool
from storage.spool_level import SpoolLevel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How the supervisor started this process."""

    name: str
    data_dir: Path
    listening: socket.socket
    channel: socket.socket


@dataclass(slots=True)
class Worker:
    """One data plane process."""

    options: WorkerOptions
    clock: Clock = field(default_factory=SystemClock)
    version: int = 0
    engine_ready: bool = False
    _plane: DataPlane | None = None
    _upstreams: UpstreamSet | None = None
    _tasks: TaskSet = field(default_factory=TaskSet)

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor is gone."""
        channel = await Channel.open(self.options.channel)
        first = await channel.receive()
        if first is None:
            return
        settings = settings_from_message(first, os.environ)
        self.engine_ready = bool(first["engine_ready"])
        async with AsyncExitStack() as stack:
            stack.push_async_callback(channel.aclose)
            server = await self._open(settings, stack)
            channel.send("ready")
            grace_s = await self._obey(channel, settings)
            await self._drain(server, grace_s)

    async def _open(self, settings: Settings, stack: AsyncExitStack) -> Server:
        spool = Spool.open(
            spool_dir(self.options.data_dir),
            worker=self.options.name,
            config=settings.record,
            now_us=self.clock.now_us,
        )
        stack.callback(spool.close)
        self._upstreams = UpstreamSet(engine_socket(self.options.data_dir), self.clock)
        stack.push_async_callback(self._upstreams.aclose)
        stack.push_async_callback(self._tasks.cancel)
        gate = OverloadGate(settings.gateway.limits, self.clock, LoopLag(self.clock))
        models = ModelList(self._upstreams.find, self.clock, self._tasks)
        self._plane = DataPlane(
            snapshot=self._snapshot(settings, self._upstreams),
            spool=spool,
            clock=self.clock,
            ids=IdSource(self.clock.now_us),
            cache=ResponseCache(settings.gateway.cache_bytes),
            rng=random.Random(),  # noqa: S311  (chooses variants, guards nothing)
            gate=gate,
            models=models,
        )
        server = Server(
            self._plane.handle,
            limits=settings.gateway.limits,
            clock=self.clock,
            server_error=refusal_body,
        )
        await server.start([self.options.listening])
        level = SpoolLevel(spool_dir(self.options.data_dir))
        heartbeat = Heartbeat(self.options.name, self._plane, server, self._upstreams, level, gate)
        self._tasks.start(heartbeat.run())
        self._update_readiness()
        return server

    def _snapshot(self, settings: Settings, upstreams: UpstreamSet) -> Snapshot:
        self.version += 1
        dispatcher, shadow_dispatcher = upstreams.dispatchers(settings)
        return build_snapshot(
            settings,
            build_table(settings.upstreams, settings.routes, version=self.version),
            dispatcher=dispatcher,
            shadow_dispatcher=shadow_dispatcher,
        )

    async def _obey(self, channel: Channel, settings: Settings) -> float:
        """Take messages until it is time to go; return the grace in seconds."""
        async for message in channel.messages():
            if message["kind"] == "drain":
                return float(message["grace_s"])
            if message["kind"] == "engine":
                self.engine_ready = bool(message["ready"])
                self._update_readiness()
            elif message["kind"] == "settings":
                self._reload(message)
        return settings.gateway.shutdown_grace

    def _reload(self, message: Mapping[str, Any]) -> None:
        plane, upstreams = self._plane, self._upstreams
        assert plane is not None
        assert upstreams is not None
        try:
            settings = settings_from_message(message, os.environ)
        except ConfigError:
            # The supervisor checked the same text, but a secret's file may have gone since.
            log.exception("the configuration stays as it was")
            return
        old = plane.snapshot
        plane.snapshot = self._snapshot(settings, upstreams)
        plane.gate.reconfigure(settings.gateway.limits)
        self._update_readiness()
        before = old.settings
        if (before.routes, before.upstreams) != (settings.routes, settings.upstreams):
            plane.cache.clear()
        for runner in old.shadow_runners.values():
            self._tasks.start(runner.aclose(settings.gateway.shutdown_grace))
        upstreams.retire_unused(settings)

    def _update_readiness(self) -> None:
        plane = self._plane
        if plane is not None:
            plane.ready = self.engine_ready or not _needs_engine(plane.snapshot.settings)

    async def _drain(self, server: Server, grace_s: float) -> None:
        plane = self._plane
        assert plane is not None
        deadline_s = time.monotonic() + grace_s
        plane.ready = False
        server.stop_accepting()
        cut = await server.drain(grace_s)
        if cut:
            log.warning("%d requests were still running at the deadline and were cut", cut)
        for runner in plane.snapshot.shadow_runners.values():
            await runner.aclose(max(0.0, deadline_s - time.monotonic()))


def _needs_engine(settings: Settings) -> bool:
    """Say whether some route can be answered by the embedded engine alone."""
    engine = settings.engine_upstream
    if engine is None:
        return False
    return any({*r.split, *r.fallback} == {engine.name} for r in settings.routes.values())
