"""The data directory over HTTP: what it holds, and what can be done with it."""

from typing import Annotated, Any, Protocol
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.db_shapes import DbReport
from gateway.api.errors import ERRORS, ErrorRoute, ParameterRefused
from gateway.api.shapes import answer_of
from gateway.config import Settings
from gateway.user_keys import stored_user_keys
from storage.lifecycle.backup import Backup
from storage.lifecycle.compaction import Compaction
from storage.lifecycle.cycle import LifeCycle, Rebuild
from storage.lifecycle.forget import ForgetRequest, ForgetResult

_MOST = 1000


class DbState(Protocol):
    """What these handlers work with."""

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        ...

    @property
    def lifecycle(self) -> LifeCycle:
        """The data directory's life cycle."""
        ...


class Forgetting(BaseModel):
    """Whom to forget: user keys as clients send them (or hashed), and ids of predictions."""

    model_config = ConfigDict(extra="forbid")

    users: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=_MOST)] = []
    ids: Annotated[list[UUID], Field(max_length=_MOST)] = []


def router(state: DbState) -> APIRouter:
    """Return the routes, relative to the API's root."""
    routes = APIRouter(route_class=ErrorRoute, tags=["db"])
    failing: dict[int | str, Any] = {503: ERRORS[503]}

    @routes.get(
        "/db",
        summary="Say what the data directory holds, and what it will come to",
        response_class=Response,
        responses={**failing, 200: answer_of(DbReport, "Sizes and a forecast.")},
    )
    def info() -> Response:
        """Return tables, files, lags and a forecast from the growth of the last days."""
        found = state.lifecycle.info()
        retention = state.settings.record.retention
        coming = state.lifecycle.outlook(found, retention)
        return _json(DbReport(found, coming, state.lifecycle.statistics()))

    @routes.post(
        "/db/compact",
        summary="Give disk space of the database file back",
        response_class=Response,
        responses={**failing, 200: answer_of(Compaction, "What it did.")},
    )
    def compact() -> Response:
        """Replace the file by a dense copy; requests are recorded meanwhile, and read in after."""
        return _json(state.lifecycle.compact())

    @routes.post(
        "/db/backup",
        summary="Make a consistent copy of the data directory",
        response_class=Response,
        responses={**failing, 200: answer_of(Backup, "Where it lies.")},
    )
    def backup() -> Response:
        """Leave the copy in the data directory; it is removed an hour later if nobody takes it."""
        return _json(state.lifecycle.backup())

    @routes.post(
        "/db/rebuild",
        summary="Make the database anew from archive and spool",
        response_class=Response,
        responses={**failing, 200: answer_of(Rebuild, "What it did.")},
    )
    def rebuild() -> Response:
        """Set the file aside and fill a fresh one; what only the spool has follows at once."""
        return _json(state.lifecycle.rebuild())

    _add_forget(routes, state)
    return routes


def _add_forget(routes: APIRouter, state: DbState) -> None:
    @routes.post(
        "/db/forget",
        summary="Remove all that is known of users or of single predictions",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 503)},
            200: answer_of(ForgetResult, "What was removed, and what is left."),
        },
    )
    def forget(wanted: Forgetting) -> Response:
        """Remove them from database, text, archive and spool; counts of roll-ups stay."""
        if not wanted.users and not wanted.ids:
            raise ParameterRefused("name `users` or `ids`", "users")
        keys = [key for user in wanted.users for key in stored_user_keys(state.settings, user)]
        request = ForgetRequest(tuple(keys), tuple(str(one) for one in wanted.ids))
        return _json(state.lifecycle.forget(request))


def _json(found: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(found), media_type="application/json")
