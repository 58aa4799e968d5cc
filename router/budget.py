"""How many requests may be repeats at once."""

from typing import NamedTuple

MIN_REPEATS = 3
"""Repeats that are allowed however few requests are active."""


class BudgetStatistics(NamedTuple):
    """Requests in flight, how many of them are repeats, and repeats refused so far."""

    active: int
    repeats: int
    denied: int


class RetryBudget:
    """Counts one route's requests, so that repeats stay a share of them.

    When every try fails, retries and fallbacks multiply the load on whatever is left. Bounding
    the repeats *in flight* by a share of the requests in flight bounds that factor (Envoy's retry
    budget: 20 %, at least 3).
    """

    __slots__ = ("active", "denied", "repeats")

    def __init__(self) -> None:
        self.active = 0
        self.repeats = 0
        self.denied = 0

    def enter(self) -> None:
        """Count a request in."""
        self.active += 1

    def leave(self, *, repeated: bool) -> None:
        """Count a request out; `repeated` gives back the permit it holds."""
        self.active -= 1
        if repeated:
            self.repeats -= 1

    def try_repeat(self, share: float) -> bool:
        """Take a permit to repeat, held until `leave`; False (and counted) when none is left."""
        if self.repeats < max(MIN_REPEATS, share * self.active):
            self.repeats += 1
            return True
        self.denied += 1
        return False

    def statistics(self) -> BudgetStatistics:
        """Return the counts."""
        return BudgetStatistics(self.active, self.repeats, self.denied)
