"""The engine's process: a model server on a Unix socket, apart from everything it could crash.

It listens before the model is loaded (and says so to whoever asks), loads in a thread, and on
SIGTERM stops accepting, lets running answers finish until a deadline, then frees the engine.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvloop

from gateway.config import LimitsConfig
from gateway.engine_api import EngineApi
from gateway.server import Server
from local_engine.config import EngineConfig
from local_engine.download import log_progress
from local_engine.engine import Engine
from local_engine.errors import EngineClosed, EngineError
from local_engine.models import model_places, resolve_model
from router.clock import SystemClock

logger = logging.getLogger(__name__)

EXIT_STOPPED = 0
EXIT_UNUSABLE = 2
"""The model or the native library cannot be used: starting again will not help."""

DRAIN_S = 20.0
CLOSE_S = 5.0
BACKLOG = 256
LIMITS = LimitsConfig(
    body_bytes=4_194_304, connections=1_024, in_flight=512, queue=0, keep_alive=600.0
)

_KEPT_NAMES = frozenset({
    "HOME", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "LANG", "LD_LIBRARY_PATH", "PATH",
    "PYTHONPATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV", "NO_PROXY", "HTTPS_PROXY", "HTTP_PROXY",
    "no_proxy", "https_proxy", "http_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
})  # fmt: skip
# Waiting threads give their core up soon: the gateway runs on the same ones.
_OPENMP = {"GOMP_SPINCOUNT": "1000"}
_KEPT_PREFIXES = (
    "LC_",
    "CUDA_",
    "GGML_",
    "GOMP_",
    "HIP_",
    "LLAMA_",
    "NVIDIA_",
    "OMP_",
    "ROCR_",
    "VK_",
)
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment the engine's process gets: nothing that could be a secret.

    The supervisor starts the process with it: a process cannot hide what it was started with,
    and OpenMP reads its settings once, when it is loaded.
    """
    return _OPENMP | {
        name: value
        for name, value in environment.items()
        if (name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES))
        and not any(word in name.upper() for word in _SECRET_WORDS)
    }


def run_engine(listen: Path | int, config: EngineConfig, model: str) -> int:
    """Be the engine's process until SIGTERM or SIGINT; return its exit status.

    Parameters
    ----------
    listen : Path or int
        A Unix socket to make, or the descriptor of one that is bound and listening.
    config : EngineConfig
    model : str
        As `local_engine.models.resolve_model` takes it.
    """
    confine(config)
    listener = _listener(listen)
    try:
        return uvloop.run(_until_signalled(listener, config, model))
    finally:
        listener.close()
        if isinstance(listen, Path):
            listen.unlink(missing_ok=True)


async def serve_engine(
    sockets: Sequence[socket.socket],
    config: EngineConfig,
    model: str,
    stop: asyncio.Event,
    on_ready: Callable[[Engine], None],
) -> int:
    """Serve the engine on listening sockets until `stop` is set; return an exit status.

    `on_ready` is called once, when the model is loaded. A model that cannot be used ends it with
    `EXIT_UNUSABLE`, and the log says why.
    """
    clock = SystemClock()
    api = EngineApi(clock)
    server = Server(api, limits=LIMITS, clock=clock)
    stopping = threading.Event()
    await server.start(sockets)
    try:
        async with asyncio.TaskGroup() as tasks:
            stopped = tasks.create_task(stop.wait())
            loading = tasks.create_task(asyncio.to_thread(_load, config, model, stopping))
            await asyncio.wait({stopped, loading}, return_when=asyncio.FIRST_COMPLETED)
            # A download ends at its next chunk; a load cannot be broken off, and is freed below.
            if stop.is_set():
                stopping.set()
            api.engine = await loading
            if api.engine is None:
                stopped.cancel()
            elif not stop.is_set():
                on_ready(api.engine)
        return EXIT_STOPPED if stop.is_set() or api.engine is not None else EXIT_UNUSABLE
    finally:
        await _shut_down(server, api)


def _load(config: EngineConfig, model: str, stopping: threading.Event) -> Engine | None:
    def report(done_bytes: int, total_bytes: int | None) -> None:
        if stopping.is_set():
            raise EngineClosed("the engine is being stopped")
        log_progress(done_bytes, total_bytes)

    try:
        places = model_places(config.models_dir, os.environ)
        file = resolve_model(model, places, progress=report)
        return Engine.load(config, file)
    except (EngineError, OSError) as error:
        logger.error("the embedded engine cannot start: %s", error)  # noqa: TRY400 - it says all.
        return None


async def _shut_down(server: Server, api: EngineApi) -> None:
    # 1. New requests are told 503; 2. running ones finish; 3. no thread tokenises; 4. free.
    api.closing = True
    server.stop_accepting()
    cut = await server.drain(DRAIN_S)
    if cut:
        logger.warning("%d requests of the embedded engine were cut off at shutdown", cut)
    await asyncio.get_running_loop().shutdown_default_executor()
    if api.engine is not None:
        api.engine.close(timeout_s=CLOSE_S)


async def _until_signalled(listener: socket.socket, config: EngineConfig, model: str) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await serve_engine([listener], config, model, stop, _say_ready)


def _say_ready(engine: Engine) -> None:
    logger.info("the embedded engine answers with %s", engine.file.name)


def confine(config: EngineConfig) -> None:
    """Take from this process secrets, core dumps, and memory beyond its bound."""
    kept = engine_environment(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    # A core of this process would hold prompts.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if config.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (config.memory_bytes, config.memory_bytes))


def _listener(listen: Path | int) -> socket.socket:
    if isinstance(listen, int):
        return socket.socket(fileno=listen)
    # A socket file that a killed process left behind would refuse the bind.
    listen.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(listen))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener
