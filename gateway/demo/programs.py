"""The demo's child processes: two model servers and the gateway, each with its log in a file."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from gateway.demo.errors import DemoFailed
from gateway.demo.stage import upstream_socket
from gateway.engine_process import engine_environment
from gateway.paths import engine_socket
from router.clock import Clock

READY_S = 90.0
"""Loading a model on a busy machine takes seconds; without an end to it, this is said instead."""

_POLL_S = 0.1
_STOP_S = 40.0
_COMMAND_S = 60.0
_LOG_LINES = 12
_DATA_URL = re.compile(r"driftgate serves (http://\S+)/v1")
_CONTROL_URL = re.compile(r"control\s+(http://\S+)/ ")


@dataclass(frozen=True, slots=True)
class Program:
    """One running `python -m driftgate ...`; its stderr goes to the file `log`."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:]) or "(it said nothing)"

    def check(self) -> None:
        """Raise if it has ended.

        Raises
        ------
        DemoFailed
            With the end of its log.
        """
        code = self.process.returncode
        if code is not None:
            raise DemoFailed(f"{self.name} ended with exit code {code}:\n{self.tail()}")

    async def kill(self) -> None:
        """Send SIGKILL and wait."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Send SIGTERM and wait; kill it if that does not end it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_S)
        except TimeoutError:
            await self.kill()


@asynccontextmanager
async def running(
    name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> AsyncIterator[Program]:
    """Run `python -m driftgate ARGUMENTS` for as long as the block runs."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *_command(arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            # A terminal's Ctrl-C reaches the demo alone, which ends the others in order.
            start_new_session=True,
        )
    program = Program(name, process, log)
    try:
        yield program
    finally:
        await program.stop()


@asynccontextmanager
async def running_upstream(name: str, sockets: Path, logs: Path) -> AsyncIterator[Program]:
    """Run one of the model servers; it may still load its model."""
    listen = upstream_socket(sockets, name)
    arguments = ["_demo_upstream", "--name", name, "--listen", str(listen)]
    environment = engine_environment(os.environ)
    async with running(f"upstream `{name}`", arguments, logs / f"{name}.log", environment) as found:
        yield found


@asynccontextmanager
async def running_gateway(config: Path, data_dir: Path) -> AsyncIterator[Program]:
    """Run the gateway on free ports of this machine."""
    arguments = ["serve", "--config", str(config), "--data-dir", str(data_dir)]
    arguments += ["--host", "127.0.0.1", "--port", "0", "--control", "127.0.0.1:0"]
    log = config.with_name("gateway.log")
    async with running("the gateway", arguments, log, os.environ) as found:
        yield found


async def addresses(gateway: Program, clock: Clock) -> tuple[str, str]:
    """Return the URLs of data plane and control plane, without a path, once they are served."""
    deadline_s = clock.monotonic() + READY_S
    while clock.monotonic() < deadline_s:
        gateway.check()
        text = gateway.log.read_text(encoding="utf-8", errors="replace")
        data, control = _DATA_URL.search(text), _CONTROL_URL.search(text)
        if data and control:
            return data[1], control[1]
        await asyncio.sleep(_POLL_S)
    raise DemoFailed(f"the gateway did not start within {READY_S:.0f} s:\n{gateway.tail()}")


async def model_loaded(program: Program, socket: Path, clock: Clock) -> None:
    """Wait until the engine behind a Unix socket answers that it is well."""
    deadline_s = clock.monotonic() + READY_S
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as client:
        while clock.monotonic() < deadline_s:
            program.check()
            with contextlib.suppress(httpx2.TransportError):
                if (await client.get("/healthz")).status_code == httpx2.codes.OK:
                    return
            await asyncio.sleep(_POLL_S)
    raise DemoFailed(f"{program.name} had no model after {READY_S:.0f} s:\n{program.tail()}")


async def engine_loaded(gateway: Program, data_dir: Path, clock: Clock) -> None:
    """Wait until the gateway's own engine can answer."""
    await model_loaded(gateway, engine_socket(data_dir), clock)


async def monitor(arguments: Sequence[str], *, shown: bool = False) -> str:
    """Run `monitor ARGUMENTS` to its end and return what it printed.

    With `shown` that goes to this process's stdout instead, so that it knows the terminal.

    Raises
    ------
    DemoFailed
        Its exit code is not 0.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *_command(arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=None if shown else pipe,
        stderr=pipe,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _COMMAND_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = err.decode(errors="replace").strip()
        command = " ".join(["monitor", *arguments])
        raise DemoFailed(f"`{command}` ended with exit code {process.returncode}:\n{said}")
    return "" if shown else out.decode(errors="replace")


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "driftgate", *arguments]
