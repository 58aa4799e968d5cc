"""Writing rows of the database to Parquet files, from one snapshot."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from storage.archive.catalog import ArchiveFile, checksum_of
from storage.archive.tables import Table
from storage.errors import DatabaseFailed
from storage.files import sync_file, sync_folder


class Partition(NamedTuple):
    """The rows of a table of one day, or all of them: how many, and what they are."""

    day: str
    rows: int
    fingerprint: str


class Exporter:
    """Writes the files of one export; none of them counts until a catalog names it.

    Parameters
    ----------
    connection : DuckDBPyConnection
        In the transaction whose snapshot is exported.
    folder : Path
        The archive.
    generation : int
        Number of the catalog that will name the files: part of their names.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, generation: int
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._generation = generation
        self._folders: set[Path] = set()
        self._written = 0

    def new_rows(self, table: Table, after: int, upto: int) -> list[ArchiveFile]:
        """Write the rows of the transactions in (after, upto], a file a day."""
        condition = f"batch > {after:d} AND batch <= {upto:d}"
        return [self.write(table, found, condition) for found in self._partitions(table, condition)]

    def whole_day(self, table: Table, day: str, upto: int, without: str = "false") -> ArchiveFile:
        """Write all rows of a day, but for those that a condition names."""
        condition = f"batch <= {upto:d} AND NOT coalesce({without}, false)"
        return self.write(table, Partition(day, 0, ""), condition)

    def changed(
        self, table: Table, files: Iterable[ArchiveFile], found: Sequence[Partition]
    ) -> tuple[list[ArchiveFile], list[ArchiveFile]]:
        """Write the days of a table whose rows are not those of its files.

        Parameters
        ----------
        found : sequence of Partition
            The table's days, from `partitions_of`.

        Returns
        -------
        (list of ArchiveFile, list of ArchiveFile)
            The table's files now, and those of them that are new. Days that have no rows any
            more have no file.
        """
        before = {file.day: file for file in files}
        now, new = [], []
        for partition in found:
            known = before.get(partition.day)
            if known is not None and (known.rows, known.fingerprint) == partition[1:]:
                now.append(known)
                continue
            new.append(self.write(table, partition, "true"))
        return [*now, *new], new

    def write(self, table: Table, partition: Partition, condition: str) -> ArchiveFile:
        """Write one file.

        Raises
        ------
        DatabaseFailed
            The disk is full or gone.
        """
        self._written += 1
        leaf = f"{table.name}-{self._generation:08d}-{self._written:05d}.parquet"
        name = str(Path(table.kind) / partition.day / leaf)
        path = self._folder / name
        if partition.day:
            column = f'"{table.time_column}"'
            condition += (
                f" AND {column} >= DATE '{partition.day}'"
                f" AND {column} < DATE '{partition.day}' + INTERVAL 1 DAY"
            )
        partial = path.with_suffix(".tmp")
        quoted = str(partial).replace("'", "''")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            counted = self._connection.execute(
                f'COPY (SELECT {table.exported} FROM "{table.name}" WHERE {condition})'  # noqa: S608 (our names, numbers and days)
                f" TO '{quoted}' (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)"
            ).fetchone()
            sync_file(partial)
            partial.replace(path)
            size, checksum = path.stat().st_size, checksum_of(path)
        except OSError as error:
            raise DatabaseFailed(f"{path} could not be written: {error}; free space") from error
        self._folders.update((path.parent, path.parent.parent, self._folder))
        rows = int(counted[0]) if counted else 0
        return ArchiveFile(
            name, table.name, partition.day, rows, size, checksum, partition.fingerprint
        )

    def finish(self) -> None:
        """Bring the names of the files to the disk."""
        for folder in self._folders:
            sync_folder(folder)

    def _partitions(self, table: Table, condition: str) -> list[Partition]:
        found = self._connection.execute(
            f"{table.partitions} WHERE {condition} GROUP BY day HAVING count(*) > 0 ORDER BY day"
        ).fetchall()
        return [Partition(*row) for _, *row in found]


def partitions_of(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]
) -> dict[str, list[Partition]]:
    """Return the days of several tables, by one statement: each costs, however small they are."""
    if not tables:
        return {}
    statement = " UNION ALL ".join(
        f"({table.partitions} GROUP BY day HAVING count(*) > 0)" for table in tables
    )
    found: dict[str, list[Partition]] = {table.name: [] for table in tables}
    for name, *row in connection.execute(f"{statement} ORDER BY ALL").fetchall():
        found[name].append(Partition(*row))
    return found
