"""The process that starts the others, keeps them running, and ends them in order."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.banner import print_banner, shown_address
from gateway.children import Child, ChildSpec
from gateway.config import Settings, split_address
from gateway.config_source import Source
from gateway.engine_process import EXIT_UNUSABLE, engine_environment
from gateway.errors import ConfigError
from gateway.exposure import open_addresses
from gateway.settings import settings_from_message
from router.clock import Clock
from router.tasks import TaskSet
from storage.files import unaddressable
from storage.lock import WriterLock

log = logging.getLogger(__name__)

CONTROL = "control plane"
ENGINE = "engine"
_WATCH_EVERY_S = 1.0
_WORKERS_FIRST_S = 10.0
_ENGINE_GRACE_S = 5.0
_RESTART_KEYS = ("listen", "control", "workers", "data_dir", "limits", "cache_bytes")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line asked for."""

    source: Source
    listen: str
    control: str
    workers: int
    data_dir: Path
    verbose: bool = False
    insecure: bool = False


@dataclass(slots=True)
class Supervisor:
    """Owns listening sockets and children.

    Shutdown, in order: (1) workers stop being ready and (2) stop accepting, (3) drain requests,
    streams and shadows until the deadline, (4) flush and seal their spool; (5) the control plane
    ingests the rest, checkpoints and closes the database, and flushes telemetry; (6) the engine
    is freed.
    """

    options: ServeOptions
    settings: Settings
    clock: Clock
    text: str | None = None
    children: dict[str, Child] = field(default_factory=dict)
    engine_ready: bool = False
    _listening: str = ""
    _sockets: list[socket.socket] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: TaskSet = field(default_factory=TaskSet)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        directory = self.options.data_dir
        culprit = unaddressable(directory)
        if culprit is not None:
            problem = (
                f"`gateway.data_dir` is `{directory.resolve()}`, and the database reads no path"
                f" with `{culprit}` in it; choose another directory"
            )
            raise ConfigError([problem], source="the data directory")
        lock = WriterLock(directory, "gateway.lock")
        try:
            (directory / "run").mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            problem = (
                f"`gateway.data_dir` is `{directory}`, which cannot be written: {error.strerror};"
                " choose another directory"
            )
            raise ConfigError([problem], source="the data directory") from error
        try:
            self.text, self.settings = _load(self.options.source)
            data, control = self._bind(self.options.listen), self._bind(self.options.control)
            self._listening = shown_address(data.getsockname())
            self._handle_signals()
            self._tasks.start(self._start(data, control))
            self._tasks.start(self._watch_file())
            await self._stop.wait()
            await self._shut_down()
        finally:
            lock.release()

    def _bind(self, address: str) -> socket.socket:
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            found = socket.create_server((host, port), family=family, backlog=2048)
        except OSError as error:
            problem = f"`{address}` cannot be bound: {error.strerror}; choose another address"
            raise ConfigError([problem], source="the address") from error
        found.set_inheritable(True)
        self._sockets.append(found)
        return found

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            for child in self.children.values():
                child.abandon()
        self._stop.set()

    async def _start(self, data: socket.socket, control: socket.socket) -> None:
        """Start the workers, say where they are, then start the rest.

        Importing what computes drift takes seconds of CPU: it must not delay the first answer.
        """
        verbose = ["--verbose"] if self.options.verbose else []
        common = ["--data-dir", str(self.options.data_dir), *verbose]
        workers = [
            self._launch(self._worker_spec(index, data, common))
            for index in range(self.options.workers)
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WORKERS_FIRST_S):
                for worker in workers:
                    await worker.ready.wait()
        print_banner(self.settings, self.options, data.getsockname(), control.getsockname())
        fd = control.fileno()
        command = ["_control", "--fd", str(fd), *common]
        self._launch(ChildSpec(CONTROL, command, [fd], has_last_words=True))
        if self.settings.engine_upstream is not None:
            environment = engine_environment(os.environ)
            command = ["_engine", *common]
            self._launch(
                ChildSpec(ENGINE, command, environment=environment, hopeless=(EXIT_UNUSABLE,))
            )

    def _worker_spec(self, index: int, data: socket.socket, common: list[str]) -> ChildSpec:
        command = ["_worker", "--fd", str(data.fileno()), "--name", f"w{index}", *common]
        return ChildSpec(f"worker {index}", command, [data.fileno()], max_delay_s=1.0)

    def _launch(self, spec: ChildSpec) -> Child:
        child = self.children[spec.name] = Child(spec, self._on_message, self.clock)
        greeting = self._engine_greeting if spec.name == ENGINE else self._greeting
        self._tasks.start(child.run(greeting))
        return child

    def _greeting(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "source": str(self.options.source),
            "engine_ready": self.engine_ready,
            "listen": self._listening,
        }

    def _engine_greeting(self) -> dict[str, Any]:
        # A new engine process loads its model from scratch.
        self._set_engine_ready(ready=False)
        upstream = self.settings.engine_upstream
        return {
            "model": upstream.model if upstream else None,
            "engine": self.settings.engine.model_dump(mode="json"),
        }

    async def _on_message(self, child: Child, message: dict[str, Any]) -> None:
        if child.spec.name == ENGINE and message["kind"] == "ready":
            self._set_engine_ready(ready=True)
        elif message["kind"] == "log":
            log.warning("%s: %s", child.spec.name, message["message"])
        elif message["kind"] == "reload":
            child.send("reloaded", number=message["number"], problems=self.reload())

    def _set_engine_ready(self, *, ready: bool) -> None:
        self.engine_ready = ready
        for child in self.children.values():
            if child.spec.name != ENGINE:
                child.send("engine", ready=ready)

    def reload(self) -> list[str]:
        """Read the configuration again; return its problems, none of it is taken if any."""
        try:
            text, settings = _load(self.options.source)
            self._refuse_to_open(settings)
        except ConfigError as error:
            log.error("the configuration stays as it was: %s", error)  # noqa: TRY400
            return error.problems
        for key in _RESTART_KEYS:
            old, new = getattr(self.settings.gateway, key), getattr(settings.gateway, key)
            if old != new:
                log.warning("`gateway.%s` takes effect when driftgate is started again", key)
        if (settings.engine_upstream is None) != (self.settings.engine_upstream is None):
            log.warning("the embedded engine comes or goes when driftgate is started again")
        self.settings, self.text = settings, text
        for child in self.children.values():
            if child.spec.name != ENGINE:
                child.send("settings", **self._greeting())
        log.info("the configuration of %s is in force", self.options.source)
        return []

    def _refuse_to_open(self, settings: Settings) -> None:
        options = self.options
        problems = open_addresses(settings, listen=options.listen, control=options.control)
        if problems and not options.insecure:
            raise ConfigError(problems, source=str(options.source))

    async def _watch_file(self) -> None:
        path = self.options.source.path
        seen = _signature(path)
        while path is not None:
            await asyncio.sleep(_WATCH_EVERY_S)
            now = _signature(path)
            # A file that is being replaced may be away for a moment.
            if now is not None and now != seen:
                seen = now
                self.reload()

    async def _shut_down(self) -> None:
        grace_s = self.settings.gateway.shutdown_grace
        data, control = self._sockets
        data.close()
        workers = [c for n, c in self.children.items() if n.startswith("worker")]
        await asyncio.gather(*(worker.stop(grace_s) for worker in workers))
        for name, limit_s in ((CONTROL, grace_s), (ENGINE, _ENGINE_GRACE_S)):
            if name in self.children:
                await self.children[name].stop(limit_s)
        control.close()
        await self._tasks.cancel()


def _signature(path: Path | None) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        if path is not None:
            found = path.stat()
            return found.st_mtime_ns, found.st_size
    return None


def _load(source: Source) -> tuple[str | None, Settings]:
    """Read once: what is checked here is what the children get."""
    text = _read(source)
    message = {"text": text, "source": str(source)}
    return text, settings_from_message(message, os.environ)


def _read(source: Source) -> str | None:
    if source.path is None:
        return None
    try:
        return source.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"cannot be read: {error}"], source=str(source)) from error
