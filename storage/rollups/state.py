"""What the roll-ups remember of themselves: rows of `log_state`."""

from typing import NamedTuple

import duckdb

from storage.times import HOUR_US

SLOT_US = 300_000_000


class RollupState(NamedTuple):
    """How far the roll-ups are, in microseconds since the epoch.

    Attributes
    ----------
    rollup_hours_until : int
        Slots that start before are hours, whole hours.
    rollup_slots_until : int
        Rows of slots that start before have been added up.
    rollups_stale_until : int
        Hours before are still to be counted anew from the facts; 0 when none are.
    facts_from : int
        Facts that started before have been removed.
    baselines, baselines_counted : int
        Changes of the baselines, and the change whose cells are counted.
    """

    rollup_hours_until: int = 0
    rollup_slots_until: int = 0
    rollups_stale_until: int = 0
    facts_from: int = 0
    baselines: int = 0
    baselines_counted: int = 0

    def grain_us(self, at_us: int) -> int:
        """Return the length of the slot that holds a time."""
        return HOUR_US if at_us < self.rollup_hours_until else SLOT_US


def load_state(connection: duckdb.DuckDBPyConnection) -> RollupState:
    """Read the state; what is not there is 0."""
    rows = connection.execute("SELECT name, value FROM log_state").fetchall()
    return RollupState(**{name: value for name, value in rows if name in RollupState._fields})


def save_state(connection: duckdb.DuckDBPyConnection, **values: int) -> None:
    """Replace values by name, inside the caller's transaction."""
    for name, value in values.items():
        # An UPDATE would keep its undo, and so checkpoints off, while any reader is at work.
        connection.execute("DELETE FROM log_state WHERE name = ?", [name])
        connection.execute("INSERT INTO log_state VALUES (?, ?)", [name, value])
