"""A child process that is started again when it dies, with back-off."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.channel import Channel
from router.clock import Clock

log = logging.getLogger(__name__)

_FIRST_DELAY_S = 0.1
_MAX_DOUBLINGS = 30
_NOT_STARTED = 71  # EX_OSERR of sysexits.h
_STABLE_S = 10.0
_LAST_START_S = 15.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a child is started.

    Attributes
    ----------
    command : sequence of str
        Arguments for `python -m driftgate`; `--channel FD` is added.
    fds : sequence of int
        Inherited descriptors, such as listening sockets.
    environment : mapping, optional
        Instead of this process's own.
    hopeless : collection of int
        Exit codes after which starting again would not help.
    max_delay_s : float
        Longest wait before a restart.
    has_last_words : bool
        It must run once more at shutdown if it happens to be down: it puts away what others left.
    """

    name: str
    command: Sequence[str]
    fds: Sequence[int] = ()
    environment: Mapping[str, str] | None = None
    hopeless: Collection[int] = ()
    max_delay_s: float = 5.0
    has_last_words: bool = False


OnMessage = Callable[["Child", dict[str, Any]], Awaitable[None]]


def restart_delay_s(failures: int, max_delay_s: float) -> float:
    """Return the wait before start number `failures` + 1: doubling, bounded."""
    # Powers beyond a float's range would end the restarts of a child that never gets well.
    doublings = min(max(0, failures - 1), _MAX_DOUBLINGS)
    return min(max_delay_s, _FIRST_DELAY_S * 2.0**doublings)


class Child:
    """Runs one child process for as long as `run` runs."""

    def __init__(self, spec: ChildSpec, on_message: OnMessage, clock: Clock) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self.restarts = 0
        self._on_message = on_message
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._can_end = asyncio.Event()  # ready, or abandoned

    @property
    def pid(self) -> int | None:
        """Return the process id while one runs."""
        return self._process.pid if self._process else None

    def send(self, kind: str, **values: Any) -> None:
        """Send a message if the child runs."""
        if self._channel is not None:
            self._channel.send(kind, **values)

    async def run(self, greeting: Callable[[], dict[str, Any]]) -> None:
        """Start the child, greet it, and start it again until `stop`."""
        failures = 0
        while not self._stopping.is_set():
            started_s = self._clock.monotonic()
            code = await self._run_once(greeting)
            if self._stopping.is_set():
                return
            if code in self.spec.hopeless:
                log.error("%s ended for good (exit code %d); see its message", self.spec.name, code)
                return
            failures = 1 if self._clock.monotonic() - started_s > _STABLE_S else failures + 1
            delay_s = restart_delay_s(failures, self.spec.max_delay_s)
            self.restarts += 1
            log.warning(
                "%s ended (%s); starting it again in %.1f s", self.spec.name, _word(code), delay_s
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), delay_s)

    async def _run_once(self, greeting: Callable[[], dict[str, Any]]) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [*self.spec.command, "--channel", str(theirs.fileno())]
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "driftgate",
                    *arguments,
                    pass_fds=[theirs.fileno(), *self.spec.fds],
                    env=self.spec.environment,
                )
            except OSError as error:
                # Out of processes or memory for now; it is tried again like a child that died.
                ours.close()
                log.warning("%s cannot be started: %s", self.spec.name, error)
                return _NOT_STARTED
        self._channel = await Channel.open(ours)
        self._channel.send("settings", **greeting())
        try:
            async for message in self._channel.messages():
                if message["kind"] == "ready":
                    self.ready.set()
                    self._can_end.set()
                await self._on_message(self, message)
            code = await self._process.wait()
        finally:
            self.ready.clear()
            self._can_end.clear()
            await self._channel.aclose()
            self._channel = None
        self._process = None
        return code

    async def stop(self, grace_s: float) -> None:
        """Ask the child to finish, wait, and kill it at the deadline."""
        self._hurry.set()
        if self.spec.has_last_words and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._can_end.wait(), _LAST_START_S)
        self._stopping.set()
        process = self._process
        if process is None:
            return
        self.send("drain", grace_s=grace_s)
        try:
            await asyncio.wait_for(process.wait(), grace_s + 2.0)
        except TimeoutError:
            log.warning("%s did not end within %.0f s and is killed", self.spec.name, grace_s)
            self.kill()
            await process.wait()

    def abandon(self) -> None:
        """End the child at once and for good, last words or not."""
        self._stopping.set()
        self._hurry.set()
        self._can_end.set()
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def _word(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    # Real-time signals have no name.
    known = {number.value: number.name for number in signal.Signals}
    return known.get(-code, f"signal {-code}")
