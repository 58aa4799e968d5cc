"""What can go wrong with the prediction log.

StorageError
├── SpoolUnavailable     a frame could not be written (disk full, I/O error)
├── DatabaseLocked       another process holds the DuckDB file
├── DatabaseUnreadable   missing, or written by a newer version
│   └── DatabaseCorrupt  damaged; the writer sets it aside and starts a fresh one
├── DatabaseFailed       a statement did not run (disk full, out of memory, interrupted)
└── MigrationFailed      a numbered step did not apply
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
