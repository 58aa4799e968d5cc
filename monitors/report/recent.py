"""The interval of the newest rows of a route."""

from typing import Any

from monitors.windows import Window
from storage import reader
from storage.repository import Repository


def window_of_last(repository: Repository, route: str, rows: int, before_us: int) -> Window | None:
    """Return the shortest interval before `before_us` that holds the last `rows` primary rows.

    It holds more only where rows started in the same microsecond; None when there are fewer.
    """
    with repository.reading() as connection:
        connection.begin()
        return newest_window(connection, route, rows, Window(0, before_us))


def newest_window(connection: Any, route: str, rows: int, within: Window) -> Window | None:
    """Return the shortest interval that holds the last primary rows of a longer one.

    The start is found by halving: counts read no row into memory, however many are asked for.

    Parameters
    ----------
    connection : DuckDBPyConnection
        As `Repository.reading` lends it, in a transaction.
    """

    def found(from_us: int) -> dict[str, int]:
        scope = reader.Scope(reader.Window(from_us, within.to_us), route)
        counted = reader.traffic(connection, scope)
        if not counted:
            return {"n": 0}
        return {
            "n": sum(row["n"] for row in counted),
            "first_at": min(row["first_at"] for row in counted),
            "last_at": max(row["last_at"] for row in counted),
        }

    everything = found(within.from_us)
    if everything["n"] < rows:
        return None
    low, high, last = everything["first_at"], everything["last_at"] + 1, everything["last_at"]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if found(middle)["n"] >= rows else (low, middle)
    return Window(low, last + 1)


def rows_by_route(repository: Repository, window: Window) -> dict[str, int]:
    """Count the primary requests of an interval, by route in order of names."""
    counts: dict[str, int] = {}
    with repository.reading() as connection:
        scope = reader.Scope(reader.Window(window.from_us, window.to_us))
        for row in reader.traffic(connection, scope):
            counts[row["route"]] = counts.get(row["route"], 0) + row["n"]
    return counts
