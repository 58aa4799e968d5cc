"""A prediction log in memory's reach: rows at given times, with tenants, tags and inputs."""

from collections.abc import Iterable, Mapping
from typing import Any

from support.log_records import end_of

from storage.records import Signals
from storage.repository import Repository
from storage.writer import Batch

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MONDAY = 1_793_577_600_000_000
"""2026-11-02T00:00:00Z, a Monday."""


class Rows:
    """Writes predictions of route `chat`, each with its own number."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._number = 0

    def write(self, rows: Iterable[Mapping[str, Any]], *, now_us: int = MONDAY) -> None:
        """Write rows in one batch, at a moment: facts by name, `inputs` aside."""
        ends, signals = [], []
        for row in rows:
            self._number += 1
            facts = {"route": "chat", "language": "en", **row}
            inputs, language = facts.pop("inputs", None), facts.pop("language")
            end = end_of(self._number, text=False, **facts)
            ends.append(end)
            said = {} if inputs is None else {"inputs": inputs}
            signals.append(Signals(end.prediction.id, language=language, error=False, **said))
        self._repository.append(Batch(ends, signals, (), (), ()), now_us=now_us)


def spread(count: int, from_us: int, to_us: int) -> list[int]:
    """Return so many times, evenly from the first to before the last."""
    return [from_us + i * (to_us - from_us) // count for i in range(count)]
