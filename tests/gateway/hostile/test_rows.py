"""The hostile-input list: every row against a real worker over a raw socket."""

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.kit import Row, check
from support.hostile.table import ROWS
from support.worker import RunningWorker


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_gets_its_class_of_answer(
    row: Row, worker: RunningWorker, upstream: FakeUpstream
) -> None:
    """A 4xx that names the thing, or a closed connection; never a 5xx and never a hang."""
    check(row, worker, upstream)


def test_no_row_stands_twice() -> None:
    """Each row is an input of its own, under a name of its own."""
    assert len({row.name for row in ROWS}) == len({row.data for row in ROWS}) == len(ROWS)
    assert len(ROWS) >= 150
