"""Rows of a Parquet file as texts, in blocks, read by DuckDB in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from storage.features.counting import quoted
from storage.training import TrainingInvalid, unglobbed

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def parquet_rows(
    path: Path, columns: Sequence[str], *, block: int = 2_048
) -> Iterator[dict[str, str | None]]:
    """Yield the rows of a file: those of `columns` that it has, as texts, None for unknown.

    NaN is unknown: data frames have it where there is nothing.

    Raises
    ------
    TrainingInvalid
        The file cannot be read.
    """
    try:
        with duckdb.connect(config=_CONFIG) as connection:
            table = f"read_parquet({quoted(unglobbed(path))})"
            described = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608 (quoted)
            kinds = {row[0]: row[1] for row in described if row[0] in columns}
            names = list(kinds)
            if not names:
                return
            chosen = ", ".join(_text(name, kind) for name, kind in kinds.items())
            result = connection.execute(f"SELECT {chosen} FROM {table}")  # noqa: S608 (known names)
            while rows := result.fetchmany(block):
                yield from (dict(zip(names, row, strict=True)) for row in rows)
    except duckdb.Error as error:
        said = str(error).split("\n", 1)[0]
        raise TrainingInvalid(f"{path} cannot be read ({said}); save it as Parquet") from error


def _text(name: str, kind: str) -> str:
    text = f'"{name}"::VARCHAR'
    # As a text: DuckDB takes a column for one without NaN if its file's statistics name none.
    return f"nullif({text}, 'nan')" if kind in {"FLOAT", "DOUBLE"} else text
