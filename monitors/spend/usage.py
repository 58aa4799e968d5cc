"""What requests cost, from roll-ups: by route, of hours and of days."""

from collections.abc import Mapping
from typing import NamedTuple

from monitors.windows import SECOND_US
from storage.log import CountRow
from storage.log_reader import LogReader
from storage.reader import Scope, Window
from storage.times import DAY_US, HOUR_US

SETTLE_US = 120 * SECOND_US
"""Requests that started at the hour's very end are logged when they end."""
MEASURES = ("cost_usd", "tokens", "requests")
"""What hours are compared in."""


class Usage(NamedTuple):
    """Sums of requests; shadows cost money too, but are no requests.

    Attributes
    ----------
    tokens : int
        Of prompts and answers, where they are known.
    rows, cost_known : int
        Requests with shadows, and those of them whose cost is known.
    """

    requests: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    rows: int = 0
    cost_known: int = 0

    def __add__(self, other: object) -> "Usage":
        assert isinstance(other, Usage)
        return Usage(
            self.requests + other.requests,
            self.tokens + other.tokens,
            self.cost_usd + other.cost_usd,
            self.rows + other.rows,
            self.cost_known + other.cost_known,
        )


NOTHING = Usage()
ByRoute = Mapping[str, Usage]


def used(log: LogReader, window: Window) -> dict[str, Usage]:
    """Return what was used in a window, by route."""
    found: dict[str, Usage] = {}
    for row in log.counts(Scope(window, role=None)):
        found[row.route] = found.get(row.route, NOTHING) + _of(row)
    return found


def _of(row: CountRow) -> Usage:
    return Usage(
        requests=row.n if row.role == "primary" else 0,
        tokens=row.prompt_tokens + row.response_tokens,
        cost_usd=row.cost_nano_usd / 1e9,
        rows=row.n,
        cost_known=row.cost_known,
    )


def last_hour(now_us: int) -> Window:
    """Return the newest whole hour whose requests are all logged."""
    end = (now_us - SETTLE_US) // HOUR_US * HOUR_US
    return Window(end - HOUR_US, end)


def earlier(hour: Window, days: int) -> Window:
    """Return the same hour, some days before."""
    return Window(hour.from_us - days * DAY_US, hour.to_us - days * DAY_US)


def today(now_us: int) -> Window:
    """Return the UTC day so far."""
    start = now_us // DAY_US * DAY_US
    return Window(start, max(now_us, start + 1))
