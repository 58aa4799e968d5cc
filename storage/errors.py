"""What can go wrong with the prediction log.

StorageError
├── SpoolUnavailable     a frame could not be written (disk full, I/O error)
├── DatabaseLocked       another process holds the DuckDB file
├── DatabaseUnreadable   missing, or written by a newer version
│   └── DatabaseCorrupt  damaged; the writer sets it aside and starts a fresh one
├── DatabaseFailed       a statement did not run (disk full, out of memory, interrupted)
├── MigrationFailed      a numbered step did not apply
└── QueryRefused         a user's query is not taken, or was stopped at a limit
"""


class StorageError(Exception):
    """Base of this folder's errors."""


class SpoolUnavailable(StorageError):
    """A frame could not be written; the record is not in the log."""


class DatabaseLocked(StorageError):
    """Another process holds the database file."""


class DatabaseUnreadable(StorageError):
    """The database file is missing, damaged, or of a newer version."""


class DatabaseCorrupt(DatabaseUnreadable):
    """The database file is damaged."""


class DatabaseFailed(StorageError):
    """A statement did not run; the file itself is not known to be damaged."""


class MigrationFailed(StorageError):
    """A numbered migration did not apply; the file is as it was before it."""


class QueryRefused(StorageError):
    """A user's query is not taken, or was stopped at a limit; the log is as well as before.

    Attributes
    ----------
    code : str
        `query_refused`, `query_timed_out`, `query_cancelled` or `query_out_of_memory`.
    """

    def __init__(self, message: str, code: str = "query_refused") -> None:
        super().__init__(message)
        self.code = code
