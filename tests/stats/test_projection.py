import hashlib

import numpy as np
import pytest

from stats.errors import InvalidInput
from stats.projection import DIRECTIONS, directions, project

PINNED = [[-1, -1, 1, -1, 1, -1, 1, 1], [-1, 1, -1, -1, 1, 1, 1, -1], [-1, -1, 1, 1, -1, 1, 1, -1]]
PINNED_DIGEST = "6475511f479b7aac0049958e9ca156843ee5ec42a643cfb13d0d4130d89dc6d2"


def test_directions_are_pinned() -> None:
    """What was projected by an earlier version, elsewhere, lies where it lay."""
    signs = directions(1536)
    assert signs.shape == (DIRECTIONS, 1536)
    assert signs[:3, :8].astype(int).tolist() == PINNED
    packed = np.packbits(signs > 0.0).tobytes()
    assert hashlib.sha256(packed).hexdigest() == PINNED_DIGEST


def test_directions_are_far_from_each_other() -> None:
    """Hardly anything of one direction is told by another: 5 standard errors of chance."""
    signs = directions(768)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    beside = signs @ signs.T / 768 - np.eye(DIRECTIONS)
    assert np.abs(beside).max() < 5.0 / np.sqrt(768)
    assert np.abs(signs.mean()) < 5.0 / np.sqrt(768 * DIRECTIONS)


def test_parts_of_vectors_are_about_one() -> None:
    """Whatever its width and length, a vector's parts are of variance 1 over the directions."""
    rng = np.random.default_rng(7)
    for width in (64, 1024):
        parts = [
            project(scale * rng.normal(size=width), directions(width)).along
            for scale in (1e-3, 1.0, 1e3)
            for _ in range(40)
        ]
        assert np.mean(np.square(parts)) == pytest.approx(1.0, abs=0.1)


def test_distances_are_kept() -> None:
    """Vectors of length one are about as far apart as their projections say: E = 16 d²."""
    rng = np.random.default_rng(11)
    signs = directions(512)
    kept = []
    for _ in range(200):
        one, other = rng.normal(size=(2, 512))
        one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
        apart = project(one, signs).along - project(other, signs).along
        kept.append(float(apart @ apart) / DIRECTIONS / float((one - other) @ (one - other)))
    assert np.mean(kept) == pytest.approx(1.0, abs=0.1)


def test_a_projection_is_the_product_with_the_signs() -> None:
    """The part along a direction is the sum of elements and signs, over the length."""
    found = project([3.0, 4.0], np.array([[1.0, 1.0], [1.0, -1.0]]))
    assert found.norm == 5.0
    assert found.along.tolist() == pytest.approx([1.4, -0.2])
    assert project([3e300, 4e300], directions(2)).along == pytest.approx(
        project([3.0, 4.0], directions(2)).along
    )


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_what_has_no_direction_is_unknown(vector: list[float]) -> None:
    """Nothing is made up of a vector without a length."""
    assert np.isnan(project(vector, directions(2)).along).all()


def test_another_width_is_refused() -> None:
    """Directions of one width say nothing of another."""
    with pytest.raises(InvalidInput, match="width 3"):
        project([1.0, 2.0], directions(3))
    with pytest.raises(InvalidInput, match="got 0"):
        directions(0)
