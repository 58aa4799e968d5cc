"""The routing snapshot in force, replaced whole."""

from typing import NamedTuple

from router.plan import RoutingTable


class RoutingStatistics(NamedTuple):
    """Version in force, replacements taken, and ones refused for being stale."""

    version: int
    replaced: int
    refused: int


class RoutingState:
    """Holds the table that new requests are planned with.

    Replacing it is one assignment: a request sees the old table or the new one, never a mixture,
    and one that is under way keeps the plan it has.
    """

    def __init__(self, table: RoutingTable) -> None:
        self.table = table
        self._replaced = 0
        self._refused = 0

    def replace(self, table: RoutingTable) -> bool:
        """Put a newer table in force; False for one that is not newer, and the old stays.

        Watchers may deliver snapshots late or twice; only versions that grow count.
        """
        if table.version <= self.table.version:
            self._refused += 1
            return False
        self.table = table
        self._replaced += 1
        return True

    def statistics(self) -> RoutingStatistics:
        """Return the version in force and the counts."""
        return RoutingStatistics(self.table.version, self._replaced, self._refused)
