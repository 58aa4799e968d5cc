"""Which tables an archive keeps, and how: told from the database, so that new ones are kept too."""

from typing import NamedTuple

import duckdb

# Watermarks and counters are in the catalog itself, text has files of its own.
_NOT_KEPT = frozenset({"schema_version", "watermarks", "log_state", "payloads_recent"})
_NOT_KEPT_PREFIXES = ("payload_", "text_")
SNAPSHOTS = frozenset({"spool_losses", "cell_edges", "feature_schemas"})
"""Written by the transactions of the facts, and therefore kept as of the same moment."""
_TIME_COLUMNS = ("started_at", "given_at", "at", "opened_at", "created_at")
_WHOLE = frozenset({"baselines", "forgotten", *SNAPSHOTS})
_APPENDED_ONLY = frozenset({"verdicts", "rollout_events"})
# Documents are large, and are not changed without a column beside them.
_DOCUMENTS = frozenset({"cells", "data", "details", "body"})


class Table(NamedTuple):
    """A table of the database.

    Attributes
    ----------
    kind : str
        `facts`: rows carry the number of their transaction. `rollup`: counts by slot.
        `snapshot`: small, and of the moment of the facts. `state`: everything else.
    time_column : str or None
        Splits the table by UTC day; None: one file.
    columns : dict of str to str
        Column to type, in order.
    statement : str
        Makes the table.
    """

    name: str
    kind: str
    time_column: str | None
    columns: dict[str, str]
    statement: str

    @property
    def day(self) -> str:
        """The day of a row as text, in SQL."""
        return "''" if self.time_column is None else f'"{self.time_column}"::DATE::VARCHAR'

    @property
    def prediction_column(self) -> str:
        """The column of facts that says which prediction a row belongs to."""
        return "prediction_id" if "prediction_id" in self.columns else "id"

    @property
    def exported(self) -> str:
        """The columns as they are written: Parquet has no 128-bit integers."""
        return ", ".join(
            f'"{name}"::DECIMAL(38, 0) AS "{name}"' if kind == "HUGEINT" else f'"{name}"'
            for name, kind in self.columns.items()
        )

    @property
    def fingerprint(self) -> str:
        """An aggregate that changes with the rows, in SQL."""
        if self.kind == "facts":
            return "''"  # Transactions tell which rows are new.
        if self.kind == "rollup":
            return "sum(n)"
        if self.name in _APPENDED_ONLY:
            return f'max("{self.time_column}")'
        listed = ", ".join(f'"{name}"' for name in self.columns if name not in _DOCUMENTS)
        return f"bit_xor(hash({listed}))"

    @property
    def partitions(self) -> str:
        """The head of a statement that returns name, day, rows and fingerprint by `day`."""
        return (
            f"SELECT '{self.name}' AS name, {self.day} AS day, count(*) AS n,"  # noqa: S608 (our names)
            f" coalesce(({self.fingerprint})::VARCHAR, '') AS fingerprint FROM \"{self.name}\""
        )


def list_tables(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    """Return the tables that an archive keeps, by name."""
    statements = dict(
        connection.execute(
            "SELECT table_name, sql FROM duckdb_tables() WHERE NOT internal AND NOT temporary"
            " AND database_name = current_database() AND schema_name = 'main' ORDER BY 1"
        ).fetchall()
    )
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        " AND database_name = current_database() AND schema_name = 'main'"
        " ORDER BY table_name, column_index"
    ).fetchall():
        columns.setdefault(table, {})[column] = kind
    return [
        _classified(name, columns[name], statement)
        for name, statement in statements.items()
        if name not in _NOT_KEPT and not name.startswith(_NOT_KEPT_PREFIXES)
    ]


def _classified(name: str, columns: dict[str, str], statement: str) -> Table:
    times = [column for column in _TIME_COLUMNS if columns.get(column) == "TIMESTAMP"]
    time_column = times[0] if times and name not in _WHOLE else None
    if name in SNAPSHOTS:
        kind = "snapshot"
    elif "batch" in columns and time_column is not None:
        kind = "facts"
    elif name.startswith("rollup_"):
        kind = "rollup"
    else:
        kind = "state"
    return Table(name, kind, time_column, columns, statement)
