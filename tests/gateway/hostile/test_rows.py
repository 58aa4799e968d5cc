"""The hostile-input list: every row against a real worker over a raw socket."""

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile import bodies, forms, framing, paths, wire
from support.hostile.kit import Row, check
from support.worker import RunningWorker

ROWS = [*wire.ROWS, *framing.ROWS, *paths.ROWS, *bodies.ROWS, *forms.ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_gets_its_class_of_answer(
    row: Row, worker: RunningWorker, upstream: FakeUpstream
) -> None:
    """A 4xx that names the thing, or a closed connection; never a 5xx and never a hang."""
    check(row, worker, upstream)
