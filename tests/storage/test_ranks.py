from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.report_log import HOURS, at, fill, opened

from storage import exact, ranks
from storage.reader import Scope, Window
from storage.records import End
from storage.repository import Repository

SCOPE = Scope(Window(HOURS.from_us, HOURS.to_us), role=None)
LAST_BIT = 4 * np.finfo(float).eps

Numbers = npt.NDArray[np.float64]
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Numbers]] = {
    "smooth": lambda rng, n: rng.lognormal(0.0, 0.7, n),
    "tied": lambda rng, n: rng.choice([0.25, 0.5, 0.5, 4.0], n),
    "one value": lambda rng, n: np.full(n, 0.3),
    "at zero": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.random(n) * 1e-6),
    "at borders of buckets": lambda rng, n: np.exp((rng.integers(300, 340, n) + 0.5) / 50.5) / 1e3,
    "below zero": lambda rng, n: rng.normal(0.0, 0.01, n),
}


def traffic(rows: int) -> list[End]:
    """Return requests of a route for every shape, in two variants and both roles."""
    rng = np.random.default_rng(rows)
    groups = [("primary", "primary"), ("candidate", "primary"), ("primary", "shadow")]
    ends: list[End] = []
    for shape, draw in SHAPES.items():
        for latency_s, ttft_s, overhead_s in draw(rng, (rows, 3)).tolist():
            variant, role = groups[int(rng.integers(len(groups)))]
            i = len(ends)
            facts: dict[str, Any] = {"latency_s": latency_s, "overhead_s": overhead_s}
            facts["ttft_s"] = None if i % 3 == 0 else ttft_s
            if i % 17 == 0:
                facts |= {"reason": "interrupted", "status": 0}
            ends.append(at(i, i + 1, route=shape, variant=variant, role=role, **facts))
    return ends


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_ranks_are_those_of_the_rows(tmp_path: Path, rows: int) -> None:
    """`quantile_cont` over all rows gives the same percentiles, but for the last bit."""
    fill(tmp_path, traffic(rows))
    with opened(tmp_path) as database, Repository(database).snapshot() as log:
        found = ranks.percentiles(log, SCOPE)
        tried = ranks.attempt_percentiles(log, SCOPE)
        expected = exact.percentiles(log.connection, SCOPE)
        tries = exact.attempt_percentiles(log.connection, SCOPE)
    assert found is not None
    assert tried is not None
    by_key = {timed[:3]: timed for timed in found}
    assert set(by_key) == {timed[:3] for timed in expected}
    for timed in expected:
        same = by_key[timed[:3]]
        measures = same.quantiles if timed.variant is None else timed.quantiles
        for measure in measures:
            assert same.known[measure] == timed.known[measure]
            wanted = timed.quantiles[measure]
            assert same.quantiles[measure] == pytest.approx(wanted, rel=LAST_BIT, abs=0.0)
    assert [row[:3] for row in sorted(tried)] == [row[:3] for row in sorted(tries)]
    for row, wanted_row in zip(sorted(tried), sorted(tries), strict=True):
        assert row.quantiles == pytest.approx(wanted_row.quantiles, rel=LAST_BIT)


def test_forgotten_rows_have_no_rank(tmp_path: Path) -> None:
    """Roll-ups keep counting them, so that the ranks must come from the rows that are left."""
    fill(tmp_path, traffic(20))
    with opened(tmp_path) as database:
        with database.cursor() as connection:
            connection.execute("DELETE FROM predictions WHERE route = 'smooth' AND latency_s > 1.0")
            connection.execute("DELETE FROM attempts WHERE attempt_no = 1 AND route = 'tied'")
        with Repository(database).snapshot() as log:
            assert ranks.percentiles(log, SCOPE) is None
            assert ranks.attempt_percentiles(log, SCOPE) is None
