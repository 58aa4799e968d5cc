"""`/healthz` and `/readyz`: whether the control plane answers, and whether it keeps up."""

import os

from fastapi import APIRouter, Response
from pydantic import BaseModel

from gateway.api.state import ApiState


class Health(BaseModel):
    """The process id tells the command line whose answer it is."""

    status: str = "ok"
    pid: int


class Readiness(BaseModel):
    """Status 503 while the ingest is stalled: requests are served, reports fall behind."""

    status: str
    ingest_lag_s: float
    ingest_lag_bytes: int
    ingest_failed: bool
    blocked_sources: int


def router(state: ApiState) -> APIRouter:
    """Return the routes; they ask for no key, so they say nothing that needs one."""
    routes = APIRouter()

    @routes.get("/healthz", include_in_schema=False)
    async def healthz() -> Health:
        return Health(pid=os.getpid())

    @routes.get("/readyz", include_in_schema=False)
    async def readyz(response: Response) -> Readiness:
        health = state.ingest.health()
        if health.stalled:
            response.status_code = 503
        return Readiness(
            status="the ingest is stalled; see the log" if health.stalled else "ok",
            ingest_lag_s=health.lag_s,
            ingest_lag_bytes=health.lag_bytes,
            ingest_failed=health.failed is not None,
            blocked_sources=len(health.blocked),
        )

    return routes
