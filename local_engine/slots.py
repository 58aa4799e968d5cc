"""Who runs and who waits: admission to the engine's slots. No clock, no threads, no I/O."""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Slots(Generic[Item]):
    """First come, first served over a fixed number of slots and waiting places.

    Parameters
    ----------
    slots : int
        How many run together.
    max_waiting : int
        How many may wait when all slots are taken.
    """

    def __init__(self, slots: int, *, max_waiting: int) -> None:
        self._free = list(range(slots - 1, -1, -1))
        self._running: dict[int, Item] = {}
        self._waiting: deque[Item] = deque()
        self._room = slots + max_waiting

    @property
    def running(self) -> dict[int, Item]:
        """Return what runs, by slot, in the order of admission."""
        return dict(self._running)

    @property
    def busy(self) -> int:
        """Return how many slots are taken."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def offer(self, item: Item) -> bool:
        """Let an item wait for a slot; False when there is no room."""
        if len(self._running) + len(self._waiting) >= self._room:
            return False
        self._waiting.append(item)
        return True

    def admit(self) -> list[tuple[int, Item]]:
        """Move those who wait into free slots and return them with their slot."""
        admitted = []
        while self._free and self._waiting:
            slot = self._free.pop()
            item = self._waiting.popleft()
            self._running[slot] = item
            admitted.append((slot, item))
        return admitted

    def release(self, slot: int) -> None:
        """Free a slot."""
        del self._running[slot]
        self._free.append(slot)

    def withdraw(self, item: Item) -> bool:
        """Take an item out of the waiting line; False if it does not wait."""
        try:
            self._waiting.remove(item)
        except ValueError:
            return False
        return True

    def empty(self) -> list[Item]:
        """Take everything out, running and waiting, and return it."""
        items = [*self._running.values(), *self._waiting]
        self._waiting.clear()
        for slot in list(self._running):
            self.release(slot)
        return items
