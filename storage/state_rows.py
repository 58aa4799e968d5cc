"""Verdicts, baselines, alerts and deliveries as rows, and back."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Generic, TypeVar, cast

import duckdb
import msgspec

from storage.monitor_records import Detector, Silence
from storage.records import Alert, Baseline, Delivery, Verdict
from storage.times import from_timestamp, to_timestamp

Noun = TypeVar("Noun", bound=msgspec.Struct)


class StateTable(Generic[Noun]):
    """One table of a record: the same names, times as TIMESTAMP, dictionaries as JSON text.

    Parameters
    ----------
    times, documents : frozenset of str
        Fields that are microseconds since the epoch, and fields that are dictionaries.
    key : sequence of str
        Fields by which `replace` finds a row again.
    """

    def __init__(
        self,
        name: str,
        noun: type[Noun],
        *,
        times: Sequence[str],
        documents: Sequence[str] = (),
        key: Sequence[str] = ("id",),
    ) -> None:
        self.name = name
        self._noun = noun
        self._fields = noun.__struct_fields__
        self._times = frozenset(times)
        self._documents = frozenset(documents)
        self._key = tuple(key)

    def insert(self, connection: duckdb.DuckDBPyConnection, nouns: Iterable[Noun]) -> None:
        """Append rows, inside the caller's transaction."""
        with connection.appender(self.name) as appender:
            appender.append_rows(
                tuple(self._to_column(name, getattr(noun, name)) for name in self._fields)
                for noun in nouns
            )

    def replace(self, connection: duckdb.DuckDBPyConnection, nouns: Sequence[Noun]) -> None:
        """Append rows in place of those with the same key, inside the caller's transaction."""
        parts = [[str(getattr(noun, name)) for noun in nouns] for name in self._key]
        wanted = ", ".join("unnest(?::VARCHAR[])" for _ in parts)
        connection.execute(
            f"DELETE FROM {self.name} WHERE ({', '.join(self._key)}) IN (SELECT {wanted})",  # noqa: S608 (our names)
            parts,
        )
        self.insert(connection, nouns)

    def select(
        self, connection: duckdb.DuckDBPyConnection, tail: str, values: Sequence[object] = ()
    ) -> list[Noun]:
        """Read rows; `tail` is what follows FROM table, written by this program alone."""
        columns = ", ".join(f'"{name}"' for name in self._fields)
        statement = f"SELECT {columns} FROM {self.name} {tail}"  # noqa: S608 (our names)
        return [
            self._noun(*map(self._from_column, self._fields, row))
            for row in connection.execute(statement, list(values)).fetchall()
        ]

    def _to_column(self, name: str, value: object) -> object:
        if value is None:
            return None
        if name in self._times:
            return to_timestamp(cast("int", value))
        if name in self._documents:
            return msgspec.json.encode(value).decode()
        return value

    def _from_column(self, name: str, value: object) -> object:
        if value is None:
            return None
        if name in self._times:
            return from_timestamp(cast("datetime", value))
        if name in self._documents:
            return msgspec.json.decode(cast("str", value))
        return value


VERDICTS = StateTable(
    "verdicts", Verdict, times=("at", "window_from", "window_to"), documents=("details",)
)
BASELINES = StateTable(
    "baselines",
    Baseline,
    times=("created_at", "window_from", "window_to"),
    documents=("cells", "source"),
)
BASELINE_HEADS = StateTable(
    "(SELECT * REPLACE ('{}' AS cells) FROM baselines)",
    Baseline,
    times=("created_at", "window_from", "window_to"),
    documents=("cells", "source"),
)
"""Baselines without their cells, which are most of their bytes; for reading alone."""
ALERTS = StateTable(
    "alerts", Alert, times=("opened_at", "updated_at", "resolved_at"), documents=("data",)
)
DELIVERIES = StateTable("deliveries", Delivery, times=("created_at", "next_at", "delivered_at"))
DETECTORS = StateTable(
    "detectors", Detector, times=("updated_at",), key=("route", "segment", "feature")
)
SILENCES = StateTable(
    "silences", Silence, times=("created_at", "starts_at", "ends_at"), documents=("matchers",)
)
