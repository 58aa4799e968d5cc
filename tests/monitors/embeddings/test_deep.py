from collections.abc import Mapping

import numpy as np
import pytest

from monitors.embeddings.names import Group, direction_name, norm_name
from monitors.explain.directions import MOST_ROWS, compare_directions
from stats.arrays import FloatArray
from stats.errors import NotEnoughSamples
from stats.projection import DIRECTIONS

GROUP: Group = "prompt_embedding"


def embedded(rows: FloatArray) -> Mapping[str, FloatArray]:
    """Return embeddings as a window's columns, their lengths beside them."""
    parts = {f"input.{direction_name(GROUP, n)}": rows[:, n] for n in range(DIRECTIONS)}
    return {**parts, f"input.{norm_name(GROUP)}": np.full(len(rows), 1e6)}


def drawn(seed: int, rows: int, *, shared: float = 0.0) -> FloatArray:
    """Return normal parts with this share of their variance in common; each alone is the same."""
    generator = np.random.default_rng(seed)
    parts = np.sqrt(1 - shared) * generator.normal(size=(rows, DIRECTIONS))
    return np.asarray(parts + np.sqrt(shared) * generator.normal(size=(rows, 1)))


def test_directions_that_moved_only_together_are_told() -> None:
    """What no single direction shows, all of them do; rows without an embedding do not count."""
    now = drawn(2, 600, shared=0.5)
    now[::2] = np.nan
    (found,) = compare_directions(GROUP, embedded(drawn(1, 500)), embedded(now))
    assert (found.name, found.n_reference, found.n_current) == ("mmd of prompt_embedding", 500, 300)
    assert found.p_value == pytest.approx(1 / 201)


def test_equal_embeddings_are_not_told_apart() -> None:
    """Of many rows an even part is read."""
    (found,) = compare_directions(GROUP, embedded(drawn(1, 2 * MOST_ROWS)), embedded(drawn(3, 400)))
    assert found.n_reference == MOST_ROWS
    assert found.p_value is not None
    assert found.p_value > 0.05


def test_what_is_no_embedding_has_no_such_test() -> None:
    """Other features, and windows without the directions, give nothing."""
    rows = embedded(drawn(1, 50))
    assert compare_directions(None, rows, rows) == ()
    assert compare_directions(GROUP, rows, {"latency_s": np.ones(9)}) == ()
    with pytest.raises(NotEnoughSamples):
        compare_directions(GROUP, rows, embedded(np.full((9, DIRECTIONS), np.nan)))
