"""The one owner of the DuckDB file: opening, sharing, re-opening and setting it aside.

DuckDB lets one process hold a file, and one fault (a full disk, a broken block) can invalidate
every connection to it. So all connections come from here: the owner waits for the others, closes
them together and opens the file anew.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

import duckdb

from storage.database_file import OpenedFile, replace_file, set_aside, wal_of
from storage.errors import DatabaseCorrupt, DatabaseFailed, DatabaseUnreadable, StorageError
from storage.faults import translated
from storage.lending import Lending
from storage.migrations import check_version, migrate
from storage.text.layout import prepare_folder

FILE_NAME = "driftgate.duckdb"
PAYLOADS_FOLDER = "payloads"
ARCHIVE_FOLDER = "archive"
COPIES_FOLDER = "copies"
EXPORTS_FOLDER = "exports"
_SERVED_FOLDERS = (PAYLOADS_FOLDER, ARCHIVE_FOLDER, COPIES_FOLDER, EXPORTS_FOLDER)
_SPILL_FOLDER = "spill"
_QUERIES_END_S = 10.0


class DatabaseLimits(NamedTuple):
    """What DuckDB may use.

    Attributes
    ----------
    memory : str
        DuckDB's `memory_limit`, in force from the first byte read (replay included).
    threads : int
        Threads of one query.
    wal_autocheckpoint : str
        Size of the write-ahead log at which a commit checkpoints by itself.
    spill : str
        Disk that queries may use beyond `memory`, in a folder of the data directory.
    """

    memory: str = "1GB"
    threads: int = 2
    wal_autocheckpoint: str = "256MB"
    spill: str = "8GB"


DEFAULT_LIMITS = DatabaseLimits()


class DatabaseStatistics(NamedTuple):
    """State of the owner.

    Attributes
    ----------
    users : int
        Cursors open now.
    reopened : int
        Times the file was opened anew after a fault, since this object was made.
    file_bytes, wal_bytes : int
        Sizes on disk.
    """

    users: int
    reopened: int
    file_bytes: int
    wal_bytes: int


class Database:
    """A DuckDB file and every connection to it; safe to share between threads.

    Use `open` in the writer, `open_or_rebuild` where a damaged file must not stop the service,
    `open_read_only` for a file nobody serves. What is set as `on_open` sees every file that is
    opened later before anybody else does; `lending` knows who reads and writes.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        now_us: Callable[[], int] | None,
        limits: DatabaseLimits = DEFAULT_LIMITS,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.path = self.data_dir / FILE_NAME
        self._now_us = now_us
        self._limits = limits
        self.lending = Lending(self.path)
        self._reopened = 0
        self._root: duckdb.DuckDBPyConnection | None = None
        self._damage: str | None = None
        self.file = OpenedFile()
        self.on_open: Callable[[duckdb.DuckDBPyConnection], object] = lambda _root: None

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        now_us: Callable[[], int],
        limits: DatabaseLimits = DEFAULT_LIMITS,
    ) -> Self:
        """Open for reading and writing, creating and migrating the file as needed.

        Raises
        ------
        DatabaseLocked, DatabaseUnreadable, DatabaseCorrupt, MigrationFailed
        """
        database = cls(data_dir, now_us=now_us, limits=limits)
        database._connect()
        return database

    @classmethod
    def open_read_only(cls, data_dir: Path, *, limits: DatabaseLimits = DEFAULT_LIMITS) -> Self:
        """Open a file that no process serves; a write-ahead log left by a crash is read too.

        Raises
        ------
        DatabaseLocked, DatabaseUnreadable, DatabaseCorrupt
        """
        database = cls(data_dir, now_us=None, limits=limits)
        if not database.path.is_file():
            raise DatabaseUnreadable(
                f"{database.path} does not exist; nothing has been recorded in this folder,"
                " see `gateway.data_dir`"
            )
        database._connect()
        return database

    @classmethod
    def open_or_rebuild(
        cls,
        data_dir: Path,
        *,
        now_us: Callable[[], int],
        limits: DatabaseLimits = DEFAULT_LIMITS,
    ) -> tuple[Self, Path | None]:
        """Open as `open` does; a damaged file is renamed and a fresh one takes its place.

        Returns
        -------
        (Database, Path or None)
            Where the damaged file was set aside, if one was. The fresh file is filled from the
            archive (`storage.archive.restore`), then from the segments that are still there.
        """
        database = cls(data_dir, now_us=now_us, limits=limits)
        return database, database._connect_or_rebuild()

    @classmethod
    def over(cls, connection: duckdb.DuckDBPyConnection, data_dir: Path) -> Self:
        """Wrap a connection that is not this folder's file, for reading; it is closed by `close`.

        This is how an in-memory view of the archive passes for a database.
        """
        database = cls(data_dir, now_us=None)
        database._root = connection
        return database

    @property
    def read_only(self) -> bool:
        """True when the file was opened for reading alone."""
        return self._now_us is None

    @property
    def damage(self) -> str | None:
        """What the first query that met a damaged block was told, since the file was opened."""
        return self._damage

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a connection to one thread; DuckDB's errors leave as this folder's."""
        cursor = self.lending.lend(self._made)
        try:
            with translated(self.path):
                yield cursor
        except DatabaseCorrupt as error:
            self._damage = self._damage or str(error)
            raise
        finally:
            self.lending.give_back(cursor)

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the file; False while a reader keeps older rows in use."""
        with self.cursor() as cursor:
            try:
                cursor.execute("CHECKPOINT")
            except duckdb.TransactionException:
                return False
        return True

    def verify(self) -> None:
        """Read every block of every table; where all are sound, there is no `damage` any more.

        Raises
        ------
        DatabaseCorrupt
            A block is damaged.
        """
        with self.cursor() as cursor:
            tables = cursor.execute(
                "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary"
                " AND database_name = current_database()"
            ).fetchall()
            for (table,) in tables:
                cursor.execute(f'SELECT bit_xor(hash(t)) FROM "{table}" t').fetchall()  # noqa: S608 (our names)
        self._damage = None

    def check_file(self) -> None:
        """See that the file is still the one that was opened; costs microseconds.

        Raises
        ------
        DatabaseFailed
            Somebody removed, replaced or overwrote it; what is written to it would be lost.
        """
        problem = self.lending.unless_stopped(self.file.problem)
        if problem is not None:
            raise DatabaseFailed(f"{self.path} {problem}")

    def reopen(self) -> Path | None:
        """Close every connection and open the file anew: the way out of an invalidated instance.

        Running queries of other threads are interrupted and waited for.

        Returns
        -------
        Path or None
            Where the file was set aside because it is damaged; a fresh one took its place.
        """
        with self._all_closed():
            self._reopened += 1
            self._damage = None
            return self._connect_or_rebuild()

    def rebuild(self) -> Path:
        """Set the file aside and go on with a fresh one; return where the old one is."""
        with self._all_closed():
            aside = self._put_aside()
            self._reopened += 1
            self._damage = None
            self._connect()
            return aside

    def swap(self, successor: Path, is_current: Callable[[], bool]) -> bool:
        """Put a whole database file in this one's place, while everybody waits.

        Parameters
        ----------
        successor : Path
            On the same file system, checkpointed and closed.
        is_current : callable
            Asked when no connection is lent: False keeps the present file.

        Returns
        -------
        bool
            Whether the file was replaced.

        Raises
        ------
        DatabaseFailed
            Queries do not end, or the present file's write-ahead log cannot be emptied.
        """
        with self._all_closed(patience_s=_QUERIES_END_S, until=is_current) as closed:
            if not closed:
                return False
            try:
                replace_file(self.path, successor)
            finally:
                self._connect()
            return True

    def close(self) -> None:
        """Close every connection; the last one checkpoints. Closing twice is allowed."""
        if self._root is not None:
            with self._all_closed():
                pass

    def statistics(self) -> DatabaseStatistics:
        """Return the state of the owner."""
        wal = wal_of(self.path)
        return DatabaseStatistics(
            users=self.lending.users,
            reopened=self._reopened,
            file_bytes=self.path.stat().st_size if self.path.exists() else 0,
            wal_bytes=wal.stat().st_size if wal.exists() else 0,
        )

    def _made(self) -> duckdb.DuckDBPyConnection:
        if self._root is None:
            raise DatabaseFailed(f"{self.path} has been closed")
        with translated(self.path):
            return self._root.cursor()

    @contextmanager
    def _all_closed(
        self, *, patience_s: float = 0.0, until: Callable[[], bool] = lambda: True
    ) -> Iterator[bool]:
        """Close every connection, if `until` still says so when no cursor is lent."""
        with self.lending.all_returned(patience_s=patience_s):
            wanted = until()
            if wanted:
                root, self._root = self._root, None
                if root is not None:
                    with suppress(duckdb.Error):
                        root.close()
                self.file.close()
            yield wanted

    def _connect_or_rebuild(self) -> Path | None:
        try:
            self._connect()
        except DatabaseCorrupt:
            aside = self._put_aside()
            self._connect()
            return aside
        return None

    def _connect(self) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": self._limits.memory,
            "threads": self._limits.threads,
            "file_search_path": str(self.data_dir),
            "temp_directory": str(self.data_dir / _SPILL_FOLDER),
            "max_temp_directory_size": self._limits.spill,
            "python_enable_replacements": False,
        }
        if not self.read_only:
            config["wal_autocheckpoint"] = self._limits.wal_autocheckpoint
            self._prepare_folder()
        with translated(self.path):
            root = duckdb.connect(str(self.path), read_only=self.read_only, config=config)
            try:
                if self._now_us is None:
                    check_version(root)
                else:
                    migrate(root, now_us=self._now_us())
                    self._confine(root)
                    self.on_open(root)
            except (duckdb.Error, StorageError):
                root.close()
                raise
            self._root = root
        if not self.read_only:
            self.file.open(self.path)

    def _confine(self, root: duckdb.DuckDBPyConnection) -> None:
        """Keep statements from every file but the log's own, whoever writes them."""
        folders = [f"{self.data_dir / name}/" for name in _SERVED_FOLDERS]
        # The view `payloads` names its files without the folder, which may be moved; DuckDB
        # asks whether that is allowed before it looks the folder up.
        folders.append(f"{PAYLOADS_FOLDER}/")
        listed = ", ".join("'" + folder.replace("'", "''") + "'" for folder in folders)
        root.execute(f"SET allowed_directories = [{listed}]")
        root.execute("SET enable_external_access = false")

    def _prepare_folder(self) -> None:
        # A killed process leaves what it had spilled, and nobody reads it again.
        shutil.rmtree(self.data_dir / _SPILL_FOLDER, ignore_errors=True)
        (self.data_dir / ARCHIVE_FOLDER).mkdir(parents=True, exist_ok=True)
        with translated(self.path):
            prepare_folder(self.data_dir)

    def _put_aside(self) -> Path:
        assert self._now_us is not None, "only a writer sets a file aside"
        return set_aside(self.path, self._now_us())
