"""`/healthz`: whether the control plane answers, and as which process."""

import os

from fastapi import APIRouter
from pydantic import BaseModel


class Health(BaseModel):
    """The process id tells the command line whose answer it is."""

    status: str = "ok"
    pid: int


def router() -> APIRouter:
    """Return the route; it asks for no key."""
    routes = APIRouter()

    @routes.get("/healthz", include_in_schema=False)
    async def healthz() -> Health:
        return Health(pid=os.getpid())

    return routes
