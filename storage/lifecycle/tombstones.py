"""Who was forgotten: rows of them that turn up again are not taken."""

from collections.abc import Collection

import duckdb

from storage.times import from_timestamp, to_timestamp


class Tombstones:
    """What the table `forgotten` says, for looking up many rows; false when it is empty."""

    def __init__(self, users: dict[str, int], ids: frozenset[str]) -> None:
        self._users = users
        self._ids = ids

    def __bool__(self) -> bool:
        return bool(self._users or self._ids)

    def covers(self, prediction_id: str, user_key: str | None, started_at: int) -> bool:
        """Say whether a row was forgotten.

        Parameters
        ----------
        started_at : int
            Microseconds since the epoch; a user who comes back later is recorded again.
        """
        if prediction_id in self._ids:
            return True
        return user_key is not None and started_at < self._users.get(user_key, 0)


NO_TOMBSTONES = Tombstones({}, frozenset())


def load_tombstones(connection: duckdb.DuckDBPyConnection) -> Tombstones:
    """Read the table; the latest time of each user counts."""
    rows = connection.execute(
        "SELECT user_key, prediction_id::VARCHAR, max(before_at) FROM forgotten GROUP BY 1, 2"
    ).fetchall()
    if not rows:
        return NO_TOMBSTONES
    return Tombstones(
        {key: from_timestamp(before) for key, _, before in rows if key is not None},
        frozenset(number for _, number, _ in rows if number is not None),
    )


def add_tombstones(
    connection: duckdb.DuckDBPyConnection,
    user_keys: Collection[str],
    ids: Collection[str],
    now_us: int,
) -> None:
    """Write down that everything until now of some users, and some rows, is forgotten."""
    now = to_timestamp(now_us)
    rows = [(key, None, now, now) for key in user_keys] + [(None, one, now, now) for one in ids]
    if rows:
        connection.executemany(
            "INSERT INTO forgotten (user_key, prediction_id, before_at, forgotten_at)"
            " VALUES (?, ?, ?, ?)",
            rows,
        )
