"""The control plane's HTTP side: API, metrics, and a page that says where things are."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from gateway.api import (
    alerts,
    baselines,
    data_plane_document,
    db,
    drift,
    export,
    feedback,
    health,
    logs,
    report,
    sql,
    status,
)
from gateway.api.errors import GUARDED
from gateway.browsers import forged
from gateway.config import Settings
from gateway.delivery import DeliveryLoop
from gateway.errors import ConfigError, error_body
from gateway.ingest_progress import IngestProgress
from gateway.page import page
from gateway.telemetry import Telemetry
from gateway.version import VERSION
from monitors.schedule import MonitorRun
from router.clock import Clock
from storage.errors import StorageError
from storage.lifecycle.cycle import LifeCycle
from storage.repository import Repository

_OPEN_PATHS = frozenset({"/healthz", "/readyz"})


@dataclass(slots=True)
class ControlState:
    """What the API's handlers work with; `settings`, `monitor` and `delivery` follow reloads.

    Attributes
    ----------
    is_local : bool
        The server listens on loopback alone.
    """

    settings: Settings
    clock: Clock
    repository: Repository
    telemetry: Telemetry
    monitor: MonitorRun
    delivery: DeliveryLoop
    reload: Callable[[], Awaitable[list[str]]]
    loops: dict[str, Any]
    ingest: IngestProgress
    lifecycle: LifeCycle
    is_local: bool = False


def build_app(state: ControlState) -> FastAPI:
    """Return the application; OpenAPI at /api/v1/openapi.json."""
    app = FastAPI(
        title="driftgate control plane",
        version=VERSION,
        openapi_url="/api/v1/openapi.json",
        docs_url="/api/v1/docs",
        redoc_url=None,
        responses=GUARDED,
    )
    app.state.control = state
    _add_own_routes(app, state)
    app.include_router(health.router(state))
    app.include_router(data_plane_document.router(), prefix="/api/v1")
    for module in (report, drift, baselines, status, alerts, logs, feedback, export, sql, db):
        app.include_router(module.router(state), prefix="/api/v1")
    _add_errors(app)
    _add_auth(app, state)
    return app


def _add_own_routes(app: FastAPI, state: ControlState) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        state.telemetry.set_deliveries(state.delivery.statistics())
        lag = state.ingest.health()
        state.telemetry.set_lag(lag_bytes=lag.lag_bytes, lag_s=lag.lag_s)
        # Rendering thousands of lines takes tens of milliseconds of CPU.
        body, content_type = await asyncio.to_thread(state.telemetry.render, accept)
        return Response(body, media_type=content_type)

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page(state.settings))

    @app.post("/api/v1/reload", summary="Read the configuration file again")
    async def reload() -> JSONResponse:
        """Take the file's content, or say why it is refused: the old stays in force."""
        problems = await state.reload()
        return JSONResponse({"problems": problems}, status_code=422 if problems else 200)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(StorageError)
    async def storage_error(_: Request, error: Exception) -> Response:
        return _error(503, str(error), "storage_unavailable")

    @app.exception_handler(ConfigError)
    async def config_error(_: Request, error: Exception) -> Response:
        return _error(422, str(error), "invalid_configuration")


def _add_auth(app: FastAPI, state: ControlState) -> None:
    @app.middleware("http")
    async def check_key(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        admin_key = state.settings.gateway.admin_key
        if request.scope["path"] in _OPEN_PATHS:
            return await call_next(request)
        if admin_key is None:
            # A browser adds no key by itself, so this is the case where it could be misused.
            why = forged(request.method, request.headers, is_local=state.is_local)
            if why is not None:
                return _error(403, why, "forbidden")
        else:
            shown = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(shown.encode(), admin_key.get_secret_value().encode()):
                return _error(401, "`gateway.admin_key` is asked for here", "invalid_api_key")
        return await call_next(request)


def _error(status_code: int, message: str, code: str) -> Response:
    body = error_body(message, type_="control_plane_error", code=code)
    return Response(body, status_code=status_code, media_type="application/json")
