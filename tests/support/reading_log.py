"""A served prediction log whose rows come in while it is read."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint
from support.api_server import State, serving
from support.report_log import START, signals_of

from gateway.api import export, logs, sql
from router.clock import SystemClock
from storage.database import Database
from storage.records import End
from storage.repository import Repository
from storage.writer import Batch, write_batch

_GRACE_S = 5.0


def take_in(database: Database, ends: Sequence[End]) -> None:
    """Write records in one transaction, as the writer does."""
    with database.cursor() as cursor:
        write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=START)


def reading_app(database: Database) -> FastAPI:
    """Return the API's reads behind a middleware, as the control plane has them."""
    state = State(Repository(database), SystemClock())
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, int]:
        return {"pid": os.getpid()}

    for module in (logs, export, sql):
        app.include_router(module.router(state), prefix="/api/v1")

    @app.middleware("http")
    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    return app


@contextmanager
def served_log(database: Database) -> Iterator[str]:
    """Serve the reads on a free port; give the URL."""
    with serving(reading_app(database)) as url:
        yield url


def copies_left(data_dir: Path) -> list[str]:
    """Return what exports have left behind in the data directory; a thread clears it away."""
    deadline_s = time.monotonic() + _GRACE_S
    while left := [path.name for path in (data_dir / "copies").glob("*")]:
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.01)
    return left
