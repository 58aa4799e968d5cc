from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.report_log import HOURS, START, at, fill, known_traffic, opened

from stats.cells import NumericCells
from storage import exact
from storage.log_reader import LogReader
from storage.reader import Scope, Window
from storage.repository import Repository

SCOPE = Scope(Window(HOURS.from_us, HOURS.to_us), role=None)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogReader]:
    """Return reads over the known traffic."""
    fill(tmp_path, known_traffic())
    with opened(tmp_path) as database, Repository(database).snapshot() as snapshot:
        yield snapshot


def test_percentiles_are_those_of_the_rows(log: LogReader) -> None:
    """By variant and role, and of all variants; interrupted rows have none."""
    found = {(t.route, t.variant, t.role): t for t in exact.percentiles(log.connection, SCOPE)}
    one = found["chat", "primary", "primary"]
    expected = np.quantile([1, 2, 3, 4, 5], exact.SHARES)
    assert one.quantiles["latency_s"] == pytest.approx(tuple(expected))
    assert (one.known["latency_s"], one.known["ttft_s"]) == (5, 3)
    every = found["chat", None, "primary"].quantiles["latency_s"]
    assert every == pytest.approx(tuple(np.quantile([1, 2, 3, 4, 5, 6, 8], exact.SHARES)))


def test_tries_have_percentiles(log: LogReader) -> None:
    """By upstream and role, with the number of tries."""
    found = {(t.upstream, t.role): t for t in exact.attempt_percentiles(log.connection, SCOPE)}
    assert found["backup", "primary"].n == 1
    assert found["backup", "primary"].quantiles == pytest.approx((0.4, 0.4, 0.4))


@pytest.mark.parametrize("feature", ["latency_s", "prompt_tokens", "ttft_s"])
def test_cells_are_those_of_the_statistics(tmp_path: Path, feature: str) -> None:
    """Counted in SQL as `stats.cells` counts rows, infinite and unknown ones included."""
    odd = [float("inf"), 1.0, 2.0, 2.5, 3.0, None, -1.0, 10.0]
    ends = [
        at(
            i,
            i + 1,
            latency_s=value or 0.5,
            ttft_s=value,
            prompt_tokens=value and int(min(value, 9)),
        )
        for i, value in enumerate(odd)
    ]
    fill(tmp_path, ends)
    cells = NumericCells.from_reference([1.0, 2.0, 2.0, 2.0, 3.0, 4.0], bins=3)
    scope = SCOPE._replace(route="chat", role="primary")
    with opened(tmp_path) as database, Repository(database).snapshot() as log:
        found = exact.cells_of(log.connection, scope, {feature: cells.edges})[feature]
        column = exact.column_of(log.connection, scope, feature)
    assert found.by_cell() == dict(enumerate(cells.count(column).tolist()))
    assert found.rows == len(odd)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(1, (8, 8)), (3, (6, 8)), (8, (1, 8)), (9, None)],
)
def test_the_newest_rows_are_found(
    log: LogReader, rows: int, expected: tuple[int, int] | None
) -> None:
    """First and last start of as many rows; None when there are fewer."""
    found = exact.newest_starts(log.connection, "chat", rows, HOURS.to_us)
    wanted = expected and tuple(START + second * 1_000_000 for second in expected)
    assert found == wanted
