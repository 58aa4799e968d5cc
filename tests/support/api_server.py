"""The API's routes on a real port: FastAPI under uvicorn, in a thread."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI

from gateway.api import baselines, drift, health, report, status
from gateway.config import Settings
from gateway.ingest_progress import IngestProgress
from gateway.loops import WorkLoop
from gateway.paths import control_file
from gateway.settings import parse_settings, zero_config
from monitors.schedule import MonitorRun
from router.clock import Clock
from storage.repository import Repository


@dataclass
class State:
    """What the control plane lends to the API."""

    repository: Repository
    clock: Clock
    settings: Settings = field(default_factory=lambda: parse_settings(zero_config({}), source="t"))
    loops: dict[str, Any] = field(default_factory=lambda: {"ingest": WorkLoop("ingest", float)})
    monitor: MonitorRun = field(init=False)
    ingest: IngestProgress = field(init=False)

    def __post_init__(self) -> None:
        self.ingest = IngestProgress(self.clock)
        self.monitor = MonitorRun(self.repository, self.settings.monitors, (), lambda _: None)


def build_app(state: State) -> FastAPI:
    """Return the API as the control plane mounts it."""
    app = FastAPI()
    app.include_router(health.router(state))
    for module in (report, drift, baselines, status):
        app.include_router(module.router(state), prefix="/api/v1")
    return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of loopback; give its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def leave_address(data_dir: Path, url: str) -> None:
    """Leave a server's address where the command line looks for it."""
    path = control_file(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode({"url": url, "pid": os.getpid()}))
