"""`GET /export`: a table of the log as a stream, a slice of time after the other."""

import asyncio
import tarfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, cast

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.errors import ERRORS, ErrorRoute
from gateway.api.intervals import AskedInterval, window_of
from gateway.api.log_query import LAST_US, parse_columns
from gateway.api.queries import Places
from gateway.api.state import ApiState
from storage.export import Export, ExportQuery
from storage.reader import Window

if TYPE_CHECKING:
    from gateway.asgi import Receive, Scope, Send

DEFAULT_SINCE = "7d"
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/x-tar",
}
_PLACES = 2
_READ_BYTES = 262_144
_BLOCK_BYTES = tarfile.BLOCKSIZE
_TIME = "Microseconds since the epoch, UTC."
_MOMENT = "`24h`, `7d`, ISO 8601, `today`, `yesterday`."


class ExportAsked(BaseModel):
    """What is exported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Literal["predictions", "attempts", "features", "feedback", "payloads"] = "predictions"
    format: Literal["parquet", "csv", "jsonl"] = Field(
        "jsonl", description="`parquet` comes as a tar archive of Parquet files, in order of time."
    )
    since_us: int | None = Field(None, ge=0, lt=LAST_US, description=_TIME)
    until_us: int | None = Field(None, ge=0, lt=LAST_US, description=_TIME)
    since: str | None = Field(None, max_length=64, description=_MOMENT)
    until: str | None = Field(None, max_length=64, description=_MOMENT)
    route: str | None = None
    where: str | None = Field(
        None, max_length=8192, description="A DuckDB condition over the table's columns."
    )
    columns: str | None = Field(None, max_length=4096, description="Names, with commas between.")


class _Slice(NamedTuple):
    path: Path
    size_bytes: int


def router(state: ApiState) -> APIRouter:
    """Return the route of exports."""
    routes = APIRouter(route_class=ErrorRoute, tags=["logs"])
    places = Places(_PLACES)

    @routes.get(
        "/export",
        summary="A table of the log as CSV, JSON Lines or Parquet",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 429, 503)},
            200: {
                "description": "The rows in order of time; a broken connection is a part of them.",
                "content": {media_type: {} for media_type in MEDIA_TYPES.values()},
            },
        },
    )
    async def export(asked: Annotated[ExportAsked, Query()]) -> Response:
        """Stream the rows of an interval, [since, until)."""
        interval = AskedInterval(asked.since_us, asked.until_us, asked.since, asked.until)
        window = window_of(interval, state.clock.now_us(), default_since=DEFAULT_SINCE)
        made = Export(
            state.repository.reading, export_query(asked, Window(window.from_us, window.to_us))
        )
        pieces = _pieces(made, places, tar=asked.format == "parquet")
        # What is wrong shows with the first piece, while there is a status to say it with.
        first = await anext(pieces, b"")
        return _Closing(_joined(first, pieces), media_type=MEDIA_TYPES[asked.format])

    return routes


def export_query(asked: ExportAsked, window: Window) -> ExportQuery:
    """Return what was asked for as storage takes it."""
    columns = parse_columns(asked.columns)
    return ExportQuery(asked.table, window, asked.format, asked.route, asked.where, columns)


class _Closing(StreamingResponse):
    """Ends its body when the client goes; left alone, that waits for the garbage collector."""

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Send the body, whole or until the client is gone."""
        async with aclosing(cast("AsyncGenerator[bytes, None]", self.body_iterator)):
            await super().__call__(scope, receive, send)


async def _joined(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def _pieces(export: Export, places: Places, *, tar: bool) -> AsyncGenerator[bytes, None]:
    with places.place():
        try:
            await asyncio.to_thread(export.prepare)
            while (found := await asyncio.to_thread(_next_slice, export)) is not None:
                if tar:
                    yield tar_header(*found)
                async for piece in _read(found.path):
                    yield piece
                if tar:
                    yield bytes(-found.size_bytes % _BLOCK_BYTES)
            if tar:
                yield bytes(2 * _BLOCK_BYTES)
        finally:
            # Not awaited: when the client is gone, this coroutine may not wait any more.
            asyncio.get_running_loop().run_in_executor(None, export.close)


async def _read(path: Path) -> AsyncGenerator[bytes, None]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _READ_BYTES):
            yield piece


def _next_slice(export: Export) -> _Slice | None:
    path = export.next_slice()
    return None if path is None else _Slice(path, path.stat().st_size)


def tar_header(path: Path, size_bytes: int) -> bytes:
    """Return what stands before a file in a tar archive."""
    info = tarfile.TarInfo(path.name)
    info.size = size_bytes
    return info.tobuf(tarfile.GNU_FORMAT)
