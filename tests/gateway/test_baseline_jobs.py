import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.empty_log import open_empty_log

from gateway.api.baseline_jobs import add_built
from monitors.baselines import from_columns
from monitors.errors import BaselineInvalid
from storage.records import Baseline
from storage.repository import Repository

AT = 1_790_000_000_000_000


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return an empty log."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


def sent(change: Callable[[dict[str, Any]], object], **more: Any) -> Baseline:
    """Return a baseline as a client may send it, one feature of it changed."""
    values = np.linspace(0.1, 2.0, 400)
    built = from_columns({"latency_s": values}, "chat", AT)
    cells = msgspec.json.decode(msgspec.json.encode(built.cells))
    change(cells["latency_s"])
    return msgspec.structs.replace(built, cells=cells, **more)


def test_what_from_columns_makes_is_taken(repository: Repository) -> None:
    """The next version of the route's baseline."""
    added = add_built(repository, sent(lambda _: None))
    assert (added.baseline.features, added.left_out) == (["latency_s"], {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["counts"].__setitem__(1, -5), "counts below 0"),
        (lambda one: one["counts"].__setitem__(1, 10**30), "cannot be read"),
        (lambda one: one.update(dispersion=math.inf), "dispersion that is no number"),
        (
            lambda one: one.update(segments={f"tenant={n}": one["counts"] for n in range(201)}),
            "201 segments",
        ),
        (
            lambda one: one.update(
                cells={**one["cells"], "edges": [float(n) for n in range(3000)]},
                counts=[1] * 3003,
            ),
            "200 are most",
        ),
    ],
)
def test_what_no_reference_can_be_is_refused(
    repository: Repository, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """It would be counted over with every row that comes in."""
    with pytest.raises(BaselineInvalid, match=said):
        add_built(repository, sent(change))
    assert repository.load_baselines() == []


def test_a_window_that_ends_before_it_begins_is_refused(repository: Repository) -> None:
    """A report would name it."""
    with pytest.raises(BaselineInvalid, match="window_from"):
        add_built(repository, sent(lambda _: None, window_from=AT, window_to=AT - 1))
