"""Roll-ups of a database, for tests: records in without a spool, every table out."""

from support.log_records import NOW, signals_of

from storage.database import Database
from storage.records import End, Signals
from storage.repository import Repository
from storage.rollups.statements import ROLLUPS
from storage.writer import Batch


def batch_of(records: list[tuple[End, Signals]]) -> Batch:
    """Return a batch without marks."""
    return Batch([end for end, _ in records], [said for _, said in records], (), (), ())


def store(database: Database, ends: list[End]) -> None:
    """Write records without a spool."""
    Repository(database).append(Batch(ends, signals_of(ends), (), (), ()), now_us=NOW)


def tables_of(database: Database, low: int, high: int) -> list[list[tuple[object, ...]]]:
    """Return every roll-up of a span, added up by its keys."""
    found = []
    with database.cursor() as cursor:
        for rollup in ROLLUPS:
            statement = (
                f"SELECT {rollup.keys}, {rollup.sums} FROM {rollup.table}"  # noqa: S608 (names of the program)
                f' WHERE epoch_us("at") >= {low} AND epoch_us("at") < {high}'
                f" GROUP BY {rollup.keys} ORDER BY ALL"
            )
            found.append(cursor.execute(statement).fetchall())
    return found
