"""The interval that a request names: microseconds, or text as the command line takes it."""

from typing import NamedTuple

from gateway.api.errors import ParameterRefused
from gateway.cli.since import parse_interval, parse_since, parse_until
from monitors.windows import Window


class AskedInterval(NamedTuple):
    """Both ends, each as microseconds since the epoch or as text; None is not given."""

    since_us: int | None
    until_us: int | None
    since: str | None
    until: str | None


def window_of(asked: AskedInterval, now_us: int, *, default_since: str) -> Window:
    """Return the interval; microseconds win over text, the end is now where none is named.

    Raises
    ------
    ParameterRefused
        The text cannot be read, lies in the future, or the interval holds no time.
    """
    try:
        if asked.since_us is None and asked.until_us is None:
            return Window(*parse_interval(asked.since or default_since, asked.until, now_us))
        start = asked.since_us
        if start is None:
            start = parse_since(asked.since or default_since, now_us)
        end = asked.until_us
        if end is None:
            end = now_us if asked.until is None else parse_until(asked.until, now_us)
        return Window(start, end)
    except ValueError as error:
        raise ParameterRefused(str(error), "since") from error
