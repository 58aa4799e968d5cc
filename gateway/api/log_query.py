"""What may be asked of the log, over HTTP and on the command line alike."""

import re
from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from storage.browse import LogFilter, Page, following, newest, parse_position, with_text
from storage.errors import QueryRefused
from storage.reader import Record, Window, record
from storage.sql import BoundedReader

MAX_ROWS = 1000
MAX_TEXTS = 100
LOG_TIME_S = 20.0
LAST_US = 253_402_300_800_000_000  # the year 10000, where DuckDB's and Python's times part
_STATUS = re.compile(r"([1-5])xx|(\d{3})")


class Asked(BaseModel):
    """Which predictions are asked for; None is any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: str | None = None
    model: str | None = Field(None, description="As answered, or as asked where none answered.")
    variant: str | None = None
    role: Literal["primary", "shadow"] | None = None
    status: str | None = Field(None, max_length=64, description="`429`, `5xx`, or `429,5xx`.")
    reason: str | None = None
    user: str | None = Field(None, max_length=1024, description="A user's key, or its hash.")
    errors: bool | None = Field(None, description="A reason but `client_closed`, or from 400.")
    where: str | None = Field(
        None, max_length=8192, description="A DuckDB condition over the columns of `predictions`."
    )


class PageAsked(NamedTuple):
    """How much of the log is wanted.

    Attributes
    ----------
    after : str or None
        Position to go on from, as the page before named it; None is the newest rows.
    payload : bool
        With the text of each row.
    """

    limit: int
    after: str | None = None
    payload: bool = False


def read_page(bounded: BoundedReader, wanted: LogFilter, asked: PageAsked) -> Page:
    """Read a page; see `storage.browse`.

    Raises
    ------
    QueryRefused
        The condition or the position is none, or there would be too much text.
    """
    if asked.payload and asked.limit > MAX_TEXTS:
        raise QueryRefused(f"with the text, `limit` is at most {MAX_TEXTS}")
    with bounded.reading() as connection:
        if asked.after is None:
            page = newest(connection, wanted, asked.limit)
        else:
            page = following(connection, wanted, parse_position(asked.after), asked.limit)
        return with_text(connection, page) if asked.payload else page


def read_one(bounded: BoundedReader, prediction_id: str) -> Record | None:
    """Read a prediction whole: facts, tries, text, feedback.

    Raises
    ------
    QueryRefused
        The id is none.
    """
    try:
        UUID(prediction_id)
    except ValueError:
        raise QueryRefused(
            f"`{prediction_id}` is no id; write the UUID of `x-driftgate-id`"
        ) from None
    with bounded.reading() as connection:
        return record(connection, prediction_id)


def log_filter(window: Window, asked: Asked, user_keys: tuple[str, ...]) -> LogFilter:
    """Return the filter that was asked for; `user_keys` are what the log has for `asked.user`.

    Raises
    ------
    QueryRefused
        A status is none.
    """
    return LogFilter(
        window,
        route=asked.route,
        model=asked.model,
        variant=asked.variant,
        role=asked.role,
        statuses=parse_statuses(asked.status) if asked.status is not None else (),
        reason=asked.reason,
        user_keys=user_keys,
        errors=bool(asked.errors),
        where=asked.where,
    )


def parse_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Return ranges of `5xx`, `429` or several with commas between.

    Raises
    ------
    QueryRefused
        A part is neither.
    """
    found = []
    for word in text.split(","):
        match = _STATUS.fullmatch(word.strip().lower())
        if match is None:
            raise QueryRefused(f"`{word}` is no status; write such as `429`, `5xx` or `429,5xx`")
        hundreds, exact = match.groups()
        low = int(hundreds) * 100 if hundreds else int(exact)
        found.append((low, low + 99 if hundreds else low))
    return tuple(found)


def parse_columns(text: str | None) -> tuple[str, ...]:
    """Return names that stand with commas between; empty is every column."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
