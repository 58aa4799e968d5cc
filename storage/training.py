"""A training file as columns: Parquet or CSV, read by DuckDB in memory, a column at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from storage.errors import StorageError
from storage.features.counting import quoted

ColumnKind = Literal["number", "words", "time", "other"]

_NUMBERS = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
})  # fmt: skip
_WORDS = frozenset({"VARCHAR", "BOOLEAN", "ENUM", "UUID"})
_TIMES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})
# The whole file says what a column is: a text in its last row makes it one of text.
_READERS = {
    ".parquet": "read_parquet({})",
    ".pq": "read_parquet({})",
    ".csv": "read_csv({}, sample_size = -1)",
    ".tsv": "read_csv({}, sample_size = -1)",
}
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


class TrainingInvalid(StorageError):
    """A training file cannot be read."""


class TrainingFile:
    """The columns of a file; all of them have their rows in the file's order.

    Attributes
    ----------
    columns : dict of str to str
        Name to what it holds: `number`, `words` (texts and flags), `time`, or `other`.
    rows : int
        Rows.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._table = _READERS[path.suffix.lower()].format(quoted(unglobbed(path)))
        described = self._run(f"DESCRIBE SELECT * FROM {self._table}").fetchall()  # noqa: S608 (quoted)
        self._types: dict[str, str] = {row[0]: row[1] for row in described}
        self.columns: dict[str, ColumnKind] = {
            name: _kind_of(type_) for name, type_ in self._types.items()
        }
        ((self.rows,),) = self._run(f"SELECT count(*) FROM {self._table}").fetchall()  # noqa: S608 (quoted)
        if not self.rows:
            raise TrainingInvalid(f"{path} has no rows; name the file that the model learned from")

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """Return a column of numbers; NaN is unknown."""
        found = self._column(f"{_identifier(column)}::DOUBLE")
        return np.ma.filled(np.ma.asarray(found, dtype=np.float64), np.nan)

    def table(self, column: str) -> dict[str | None, int]:
        """Return the rows of a column by word; None is unknown."""
        return dict(
            self._run(
                f"SELECT {_identifier(column)}::VARCHAR AS word, count(*)"  # noqa: S608 (quoted)
                f" FROM {self._table} GROUP BY word"
            ).fetchall()
        )

    def places(self, column: str, top: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return a column of words as places in `top`: its length for others, -1 for unknown."""
        word = f"{_identifier(column)}::VARCHAR"
        listed = ", ".join(quoted(one) for one in top)
        place = f"coalesce(nullif(list_position([{listed}]::VARCHAR[], {word}), 0) - 1, {len(top)})"
        found = self._column(f"CASE WHEN {word} IS NULL THEN -1 ELSE {place} END::BIGINT")
        return np.asarray(found, dtype=np.int64)

    def times(self, column: str) -> npt.NDArray[np.int64]:
        """Return a column of times as microseconds since the epoch.

        Raises
        ------
        TrainingInvalid
            A row has none.
        """
        # With a zone it is a moment; a cast would take it for the clock on this machine's wall.
        named = _identifier(column)
        has_zone = self._types[column] == "TIMESTAMP WITH TIME ZONE"
        found = np.ma.asarray(self._column(f"epoch_us({named}{'' if has_zone else '::TIMESTAMP'})"))
        if np.ma.getmaskarray(found).any():
            raise TrainingInvalid(f"{self._path}: column `{column}` lacks the time of some rows")
        return np.asarray(found, dtype=np.int64)

    def _column(self, expression: str) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self._run(
            f"SELECT {expression} AS found FROM {self._table}"  # noqa: S608 (quoted)
        ).fetchnumpy()["found"]
        return found

    def _run(self, statement: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(statement)
        except duckdb.Error as error:
            said = str(error).split("\n", 1)[0]
            raise TrainingInvalid(
                f"{self._path} cannot be read ({said}); save it as Parquet, or as CSV with a"
                " line of names"
            ) from error


@contextmanager
def open_training(path: Path) -> Iterator[TrainingFile]:
    """Open a training file.

    Raises
    ------
    TrainingInvalid
        It is absent, of another kind, empty, or broken.
    """
    if not path.is_file():
        raise TrainingInvalid(f"there is no file {path}; name a Parquet or CSV file")
    if path.suffix.lower() not in _READERS:
        known = ", ".join(_READERS)
        raise TrainingInvalid(f"{path} is none of {known}; save it as one of them")
    with duckdb.connect(config=_CONFIG) as connection:
        yield TrainingFile(connection, path)


def unglobbed(path: Path) -> str:
    """Return a path of which DuckDB takes every character for itself."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in str(path.resolve()))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _kind_of(type_: str) -> ColumnKind:
    base = type_.split("(", 1)[0]
    if type_.endswith("]"):
        return "other"
    if base in _NUMBERS:
        return "number"
    if base in _WORDS:
        return "words"
    return "time" if base in _TIMES or base.startswith("TIMESTAMP") else "other"
