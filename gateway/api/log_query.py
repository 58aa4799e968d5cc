"""What may be asked of the log, over HTTP and on the command line alike."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.api.errors import ParameterRefused
from gateway.config import Settings
from gateway.user_keys import stored_user_keys
from storage.browse import LogFilter
from storage.reader import Window

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


def log_filter(settings: Settings, window: Window, asked: Asked) -> LogFilter:
    """Return the filter that was asked for.

    Raises
    ------
    ParameterRefused
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
        user_keys=stored_user_keys(settings, asked.user) if asked.user is not None else (),
        errors=bool(asked.errors),
        where=asked.where,
    )


def parse_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Return ranges of `5xx`, `429` or several with commas between.

    Raises
    ------
    ParameterRefused
        A part is neither.
    """
    found = []
    for word in text.split(","):
        match = _STATUS.fullmatch(word.strip().lower())
        if match is None:
            raise ParameterRefused(f"`{word}` is no status; write `429`, `5xx` or both", "status")
        hundreds, exact = match.groups()
        low = int(hundreds) * 100 if hundreds else int(exact)
        found.append((low, low + 99 if hundreds else low))
    return tuple(found)
