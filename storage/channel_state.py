"""What is remembered of alert channels: rows of `log_state`, and what the outbox says of them."""

from collections.abc import Mapping

import duckdb

from storage.records import Alert
from storage.state_rows import ALERTS
from storage.times import from_timestamp

_GONE = "gone:"


def load_gone(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the channels that are switched off, and since when, in microseconds."""
    rows = connection.execute(
        "SELECT name, value FROM log_state WHERE starts_with(name, ?) ORDER BY name", [_GONE]
    ).fetchall()
    return {name.removeprefix(_GONE): value for name, value in rows}


def save_gone(connection: duckdb.DuckDBPyConnection, gone: Mapping[str, int]) -> None:
    """Replace what `load_gone` returns, inside the caller's transaction."""
    connection.execute("DELETE FROM log_state WHERE starts_with(name, ?)", [_GONE])
    for name, since_us in gone.items():
        connection.execute("INSERT INTO log_state VALUES (?, ?)", [_GONE + name, since_us])


def open_and_told(
    connection: duckdb.DuckDBPyConnection,
) -> tuple[list[Alert], dict[tuple[str, str], int]]:
    """Return the open alerts, oldest first, and when each was last told to each channel.

    By (alert, channel), in microseconds since the epoch, the newest notification, whatever became
    of it. Where one waits there is none.
    """
    alerts = ALERTS.select(connection, "WHERE state = 'open' ORDER BY opened_at, id")
    rows = connection.execute(
        "SELECT alert_id, channel, max(created_at) FROM deliveries"
        " SEMI JOIN (SELECT id AS alert_id FROM alerts WHERE state = 'open') USING (alert_id)"
        " GROUP BY alert_id, channel HAVING count_if(state = 'pending') = 0"
    ).fetchall()
    return alerts, {(alert_id, name): from_timestamp(at) for alert_id, name, at in rows}
