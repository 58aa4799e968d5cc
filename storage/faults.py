"""DuckDB's errors as this folder's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from storage.errors import (
    DatabaseCorrupt,
    DatabaseFailed,
    DatabaseLocked,
    DatabaseUnreadable,
    StorageError,
)

_TRUNCATED = 'could not read enough bytes from file "'
_CORRUPT = ("corrupt", "not a valid duckdb database", "checksum", "replaying wal", "deserializ")
# The errors of statements and values quote what was asked for, and that may be any word.
_NOT_CORRUPT = (
    duckdb.OutOfMemoryException,
    duckdb.DataError,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn DuckDB's errors about the file `path` into this folder's."""
    try:
        yield
    except duckdb.Error as error:
        raise translate(error, path) from error


def translate(error: duckdb.Error, path: Path) -> StorageError:
    """Return what a DuckDB error says of the file `path`."""
    text = str(error).splitlines()[0]
    lowered = text.lower()
    if "conflicting lock" in lowered or "could not set lock" in lowered:
        return DatabaseLocked(
            f"{path} is held by another process ({text}); ask the running server, or stop it"
        )
    if "can only read versions" in lowered:
        return DatabaseUnreadable(
            f"{path} was written by a newer DuckDB ({text}); install the newer driftgate"
        )
    if isinstance(error, duckdb.InterruptException):
        return DatabaseFailed(
            f"{path}: the query was interrupted: somebody had to have the log alone; ask again"
        )
    # Other files that a query reads, such as those of text, may be cut short as well.
    is_cut = f"{_TRUNCATED}{path}".lower() in lowered
    if not isinstance(error, _NOT_CORRUPT) and (
        is_cut or any(word in lowered for word in _CORRUPT)
    ):
        return DatabaseCorrupt(
            f"{path} is damaged ({text}); start the server, which sets it aside and rebuilds it"
            " from the archive and the spool"
        )
    return DatabaseFailed(f"{path}: {text}")
