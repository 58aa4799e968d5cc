"""The log as a log: newest predictions, and those that come after."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.reading_log import take_in
from support.report_log import HOUR, START, at, fill, known_traffic, opened

from storage.browse import LogFilter, Page, Position, following, newest, parse_position
from storage.database import Database
from storage.errors import QueryRefused
from storage.reader import Window

ALL = LogFilter(Window(START, START + HOUR))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a log with known traffic."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    fill(data_dir, known_traffic())
    return data_dir


@pytest.fixture
def database(filled: Path, tmp_path: Path) -> Iterator[Database]:
    """Open a copy of it."""
    shutil.copytree(filled, tmp_path / "data")
    with opened(tmp_path / "data") as found:
        yield found


@pytest.fixture
def connection(database: Database) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a connection."""
    with database.cursor() as cursor:
        yield cursor


def numbers(page: Page) -> list[int]:
    """Return the records' numbers."""
    return [int(row["id"][-4:], 16) for row in page.rows]


def test_the_newest_come_last(connection: duckdb.DuckDBPyConnection) -> None:
    """A page is cut at its old end."""
    page = newest(connection, ALL, 3)
    assert (numbers(page), page.more) == ([8, 9, 10], True)
    assert newest(connection, ALL, 11).more is False


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ALL._replace(route="other"), [9, 10]),
        (ALL._replace(model="m-3"), [9, 10]),
        (ALL._replace(variant="candidate", role="primary"), [7, 8]),
        (ALL._replace(role="shadow"), [11]),
        (ALL._replace(reason="no_upstream"), [5]),
        (ALL._replace(statuses=((500, 599), (404, 404))), [5, 8]),
        (ALL._replace(errors=True), [5, 6, 8]),
        (ALL._replace(where="latency_s >= 5 AND stream"), [7]),
        (
            ALL._replace(where="id IN (SELECT prediction_id FROM attempts WHERE attempt_no = 2)"),
            [7],
        ),
        (ALL._replace(user_keys=("a", "b")), []),
        (ALL._replace(errors=True, route="other"), []),
        (ALL._replace(window=Window(START + 9_000_000, START + 10_000_000)), [9]),
    ],
)
def test_filters_narrow(
    connection: duckdb.DuckDBPyConnection, wanted: LogFilter, found: list[int]
) -> None:
    """Each alone; all of them hold together."""
    assert numbers(newest(connection, wanted, 100)) == found


def test_users_are_found_by_any_of_their_keys(database: Database) -> None:
    """The same user has another pseudonym with every tenant."""
    take_in(
        database, [at(30, 30, user_key="a"), at(31, 31, user_key="b"), at(32, 32, user_key="c")]
    )
    with database.cursor() as cursor:
        found = newest(cursor, ALL._replace(user_keys=("a", "b")), 10)
    assert numbers(found) == [30, 31]


def test_rows_that_came_in_later_follow(database: Database) -> None:
    """In the order of their batches, although they may have started before what was shown."""
    with database.cursor() as cursor:
        page = newest(cursor, ALL, 100)
        assert following(cursor, ALL, page.after, 10) == Page([], page.after, more=False)
    take_in(database, [at(0.5, 20), at(40, 21)])
    take_in(database, [at(0.25, 22)])
    with database.cursor() as cursor:
        after = following(cursor, ALL, page.after, 10)
        assert (numbers(after), after.more) == ([20, 21, 22], False)
        assert following(cursor, ALL, after.after, 10).rows == []


def test_pages_meet_without_gap_or_double(database: Database) -> None:
    """However small they are, also inside a batch and among rows of one moment."""
    take_in(database, [at(50, number) for number in range(100, 110)])
    take_in(database, [at(51, number) for number in range(110, 113)])
    seen: list[int] = []
    after = Position(0)
    with database.cursor() as cursor:
        while True:
            page = following(cursor, ALL._replace(role="primary"), after, 4)
            seen += numbers(page)
            after = parse_position(str(page.after))
            if not page.more:
                break
    assert seen == [*range(1, 11), *range(100, 113)]


def test_a_log_that_was_built_anew_is_followed_from_its_end(database: Database) -> None:
    """Its batches have started again from a smaller number."""
    with database.cursor() as cursor:
        page = following(cursor, ALL, Position(999), 10)
    assert (page.rows, page.after.batch) == ([], 1)


@pytest.mark.parametrize("text", ["", "x", "1.2", "1.2.3", "1; DROP TABLE predictions"])
def test_a_position_is_checked(text: str) -> None:
    """It comes from outside."""
    with pytest.raises(QueryRefused, match="no position"):
        parse_position(text)
