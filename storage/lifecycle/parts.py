"""What the life cycle asks of those who own the files."""

from collections.abc import Collection
from typing import NamedTuple, Protocol

from storage.log import Cutoffs, Removed


class Dropped(NamedTuple):
    """What was removed: files, rows in them, bytes on disk."""

    files: int = 0
    rows: int = 0
    bytes: int = 0


class FactRows(Protocol):
    """The rows of facts and roll-ups: `storage.log.PredictionLog`, as far as it is asked."""

    def apply_retention(self, cutoffs: Cutoffs) -> Removed:
        """Remove what is older than the cut-offs, in one transaction."""
        ...


class TextFiles(Protocol):
    """The text of requests and answers, in day files."""

    def step(self) -> object:
        """Move text from segments to files, as far as the facts have got."""
        ...

    def archived(self, source: str) -> tuple[int, int] | None:
        """Return up to which segment and byte of a source all text is in files."""
        ...

    def drop_before(self, at_us: int) -> Dropped:
        """Remove the files whose last row started before a time."""
        ...

    def drop_oldest(self, at_least_bytes: int) -> Dropped:
        """Remove whole days, the oldest first, until so much is gone; today's stay."""
        ...

    def forget(self, ids: Collection[str]) -> int:
        """Remove rows from the files that hold them, at once; return how many there were."""
        ...


class FactFiles(Protocol):
    """The archive of facts and roll-ups."""

    def archive_now(self) -> object:
        """Write everything that is in the database and not yet in files."""
        ...

    def archived(self, source: str) -> tuple[int, int] | None:
        """Return up to which segment and byte of a source all facts are in files."""
        ...

    def drop_before(self, facts_before_us: int, rollups_before_us: int) -> Dropped:
        """Remove the files of days that ended before."""
        ...

    def forget(self, user_keys: Collection[str], ids: Collection[str]) -> int:
        """Remove rows from the files that hold them, at once; return how many there were."""
        ...
