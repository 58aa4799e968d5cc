"""The interval of the newest rows of a route."""

from monitors.windows import Window
from storage import reader
from storage.exact import newest_starts
from storage.repository import Repository


def window_of_last(repository: Repository, route: str, rows: int, before_us: int) -> Window | None:
    """Return the shortest interval before `before_us` that holds the last `rows` primary rows.

    It holds more only where rows started in the same microsecond; None when there are fewer.
    """
    with repository.snapshot() as log:
        found = newest_starts(log.connection, route, rows, before_us)
    return None if found is None else Window(found.from_us, found.to_us + 1)


def rows_by_route(repository: Repository, window: Window) -> dict[str, int]:
    """Count the primary requests of an interval, by route in order of names."""
    counts: dict[str, int] = {}
    for row in repository.counts(reader.Scope(reader.Window(window.from_us, window.to_us))):
        counts[row.route] = counts.get(row.route, 0) + row.n
    return counts
