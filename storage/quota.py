"""How much the spool may hold that is not in the database: a bound besides the disk's own."""

BODIES_SHARE = 0.75
"""From this share of the quota on, records are written without their bodies."""


class Quota:
    """Measured now and then by someone who reads the directory, and counted up in between.

    Parameters
    ----------
    limit_bytes : int or None
        Of all workers together; None: no bound.

    Attributes
    ----------
    limit_bytes : int or None
        As given.
    unread_bytes : int
        Not in the database, as measured, and what this worker has written since.
    tight : bool
        Bodies are dropped.
    spent : bool
        No new record fits.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes
        self.unread_bytes = 0
        self.tight = self.spent = False

    @property
    def share(self) -> float:
        """Part of the quota that is used; 0 without one."""
        return self.unread_bytes / self.limit_bytes if self.limit_bytes else 0.0

    def measured(self, unread_bytes: int) -> None:
        """Take what the directory says."""
        self.unread_bytes = unread_bytes
        self._judge()

    def wrote(self, size_bytes: int) -> None:
        """Count what was written since the last measurement."""
        self.unread_bytes += size_bytes
        self._judge()

    def _judge(self) -> None:
        limit = self.limit_bytes
        if limit is not None:
            self.tight = self.unread_bytes >= BODIES_SHARE * limit
            self.spent = self.unread_bytes >= limit
