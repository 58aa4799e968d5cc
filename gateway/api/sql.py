"""`POST /sql`: one statement that reads the log, bounded in time, rows and bytes."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.errors import ERRORS, ErrorRoute
from gateway.api.queries import Places, read_while_asked
from gateway.api.shapes import answer_of
from gateway.api.state import ApiState
from gateway.cli.table_text import csv_text
from storage.sql import BoundedReader, QueryLimits, Result, run_query

MAX_TIME_S = 60.0
MAX_ROWS = 100_000
_PLACES = 2


class SqlColumn(msgspec.Struct, frozen=True):
    """A column's name, and its type as DuckDB writes it."""

    name: str
    type: str


class SqlAnswer(msgspec.Struct, frozen=True):
    """What a statement gave.

    Attributes
    ----------
    rows : list of list
        Values in the order of the columns. Times are ISO 8601 in UTC, NaN and infinity null.
    truncated : bool
        There are more rows than `limit`, or more bytes than an answer may have (16 MiB).
    """

    columns: list[SqlColumn]
    rows: list[msgspec.Raw]
    truncated: bool
    version: Literal[1] = 1


class _Documented(msgspec.Struct, frozen=True):
    """What a statement gave: columns, rows of values in their order, whether it was cut."""

    columns: list[SqlColumn]
    rows: list[list[Any]]
    truncated: bool
    version: Literal[1] = 1


class SqlAsked(BaseModel):
    """A statement, and how much of its result is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: str = Field(min_length=1, max_length=65_536, description="SELECT, EXPLAIN, DESCRIBE …")
    limit: int = Field(1000, ge=1, le=MAX_ROWS, description="Rows; the result is cut there.")
    time_s: float = Field(30.0, gt=0, le=MAX_TIME_S, description="It is stopped then.")


def router(state: ApiState) -> APIRouter:
    """Return the route of SQL."""
    routes = APIRouter(route_class=ErrorRoute, tags=["sql"])
    places = Places(_PLACES)

    @routes.post(
        "/sql",
        summary="Run one statement that reads the log",
        response_class=Response,
        responses={
            **{code: ERRORS[code] for code in (422, 429, 503)},
            200: answer_of(_Documented, "The result, version 1; CSV with `Accept: text/csv`."),
        },
    )
    async def sql(
        request: Request, asked: SqlAsked, accept: Annotated[str, Header()] = ""
    ) -> Response:
        """Return what a SELECT, EXPLAIN, DESCRIBE, SUMMARIZE or SHOW gives; see `docs/sql.md`."""
        bounded = BoundedReader(state.repository.reading, time_s=asked.time_s)
        limits = QueryLimits(rows=asked.limit)
        with places.place():
            found = await read_while_asked(
                request, bounded, lambda: run_query(bounded, asked.sql, limits)
            )
        if "text/csv" in accept:
            headers = {"x-driftgate-truncated": str(found.truncated).lower()}
            return Response(as_csv(found), media_type="text/csv", headers=headers)
        return Response(as_json(found), media_type="application/json")

    return routes


def as_json(found: Result) -> bytes:
    """Return a result as the API shows it."""
    columns = [SqlColumn(*column) for column in found.columns]
    rows = [msgspec.Raw(row) for row in found.rows]
    return msgspec.json.encode(SqlAnswer(columns, rows, found.truncated))


def as_csv(found: Result) -> str:
    """Return a result with a line of names; unknown is empty, lists and structs are JSON."""
    rows = [msgspec.json.decode(row) for row in found.rows]
    return csv_text([column.name for column in found.columns], rows)
