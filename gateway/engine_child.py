"""The engine's process as the supervisor's child."""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

from gateway.channel import Channel
from gateway.engine_process import confine, serve_engine
from gateway.paths import engine_socket
from local_engine.config import DEFAULT_MODEL, EngineConfig
from router.tasks import TaskSet

log = logging.getLogger(__name__)


async def run_engine_child(data_dir: Path, end: socket.socket) -> int:
    """Serve until told to drain, or until the supervisor is gone; return the exit code."""
    channel = await Channel.open(end)
    greeting = await channel.receive()
    if greeting is None:
        return 0
    config = EngineConfig.model_validate(greeting["engine"])
    confine(config)
    model = greeting["model"] or DEFAULT_MODEL
    stop, tasks = asyncio.Event(), TaskSet()
    path = engine_socket(data_dir)
    listener = _listen(path)
    own = path.stat().st_ino
    try:
        tasks.start(_until_drain(channel, stop))
        return await serve_engine([listener], config, model, stop, lambda _: channel.send("ready"))
    finally:
        listener.close()
        _unlink_own(path, own)
        await tasks.cancel()
        await channel.aclose()


async def _until_drain(channel: Channel, stop: asyncio.Event) -> None:
    async for message in channel.messages():
        if message["kind"] == "drain":
            break
    stop.set()


def _unlink_own(path: Path, inode: int) -> None:
    # While this one drained, the engine of a new supervisor may have put its socket there.
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()


def _listen(path: Path) -> socket.socket:
    # The one before may have been killed and left its socket behind.
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(256)
    return listener
