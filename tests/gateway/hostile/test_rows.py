"""The hostile-input list: every row against a real worker over a raw socket."""

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.kit import check
from support.hostile.table import GROUPS, ROWS
from support.worker import RunningWorker


@pytest.mark.parametrize("group", GROUPS)
def test_rows_get_their_class_of_answer(
    group: str, worker: RunningWorker, upstream: FakeUpstream, subtests: pytest.Subtests
) -> None:
    """A 4xx that names the thing, or a closed connection; never a 5xx and never a hang."""
    for row in GROUPS[group]:
        with subtests.test(row.name):
            check(row, worker, upstream)


def test_no_row_stands_twice() -> None:
    """Each row is an input of its own, under a name of its own."""
    assert len({row.name for row in ROWS}) == len({row.data for row in ROWS}) == len(ROWS)
    assert len(ROWS) >= 150
