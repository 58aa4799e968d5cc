from random import Random

import pytest

from router.split import Variant, choose_by_draw, choose_by_key, unit_hash, variants_of

USERS = [f"user-{number}".encode() for number in range(100_000)]


def _sides(weights: list[tuple[str, float]], salt: str = "chat") -> list[str]:
    variants = variants_of(salt, weights)
    return [choose_by_key(variants, user) for user in USERS]


def _moves(before: list[str], after: list[str]) -> dict[tuple[str, str], float]:
    moves: dict[tuple[str, str], float] = {}
    for old, new in zip(before, after, strict=True):
        if old != new:
            moves[old, new] = moves.get((old, new), 0.0) + 1 / len(before)
    return moves


@pytest.mark.parametrize(
    "weights", [[("a", 0.95), ("b", 0.05)], [("a", 0.5), ("b", 0.3), ("c", 0.2)]]
)
def test_sticky_shares_are_the_weights(weights: list[tuple[str, float]]) -> None:
    """Over 100,000 users each variant gets its share, within half a percent."""
    sides = _sides(weights)
    for name, weight in weights:
        assert sides.count(name) / len(sides) == pytest.approx(weight, abs=0.005)


def test_raising_a_canary_moves_only_the_users_it_needs() -> None:
    """From 5 % to 25 %, a fifth of the users move, all of them to the canary."""
    moves = _moves(_sides([("a", 0.95), ("b", 0.05)]), _sides([("a", 0.75), ("b", 0.25)]))
    assert set(moves) == {("a", "b")}
    assert moves["a", "b"] == pytest.approx(0.2, abs=0.005)


def test_a_new_variant_takes_users_and_moves_none_between_the_others() -> None:
    """Adding a third variant at 10 % moves a tenth of the users, to it alone."""
    moves = _moves(_sides([("a", 0.6), ("b", 0.4)]), _sides([("a", 0.54), ("b", 0.36), ("c", 0.1)]))
    assert {new for _, new in moves} == {"c"}
    assert sum(moves.values()) == pytest.approx(0.1, abs=0.005)


def test_the_order_of_variants_does_not_matter() -> None:
    """The same weights in another order send every user to the same place."""
    assert _sides([("a", 0.7), ("b", 0.3)]) == _sides([("b", 0.3), ("a", 0.7)])


def test_routes_fall_independently() -> None:
    """Users of one route's canary are spread over another's as everybody is."""
    weights = [("a", 0.5), ("b", 0.5)]
    pairs = list(zip(_sides(weights), _sides(weights, salt="embed"), strict=True))
    both = sum(pair == ("b", "b") for pair in pairs) / len(pairs)
    assert both == pytest.approx(0.25, abs=0.01)


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    """Values written down once still hold: users stay where they are over an upgrade."""
    assert unit_hash(b"chat\0a\0user-1") == pytest.approx(0.4282841245789774, abs=1e-15)
    assert unit_hash(b"") == pytest.approx(0.8931675160897388, abs=1e-15)


def test_a_weight_of_nothing_is_never_chosen() -> None:
    """A variant with weight 0 takes no part."""
    assert variants_of("chat", [("a", 1.0), ("b", 0.0)]) == (Variant("a", 1.0, b"chat\0a\0"),)


def test_draws_follow_the_weights() -> None:
    """Without a key a random draw gives each variant its share."""
    variants, rng = variants_of("chat", [("a", 0.95), ("b", 0.05)]), Random(7)
    sides = [choose_by_draw(variants, rng.random()) for _ in range(100_000)]
    assert sides.count("b") / len(sides) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize(("draw", "side"), [(0.0, "a"), (1 - 2**-53, "b")])
def test_the_ends_of_the_draw_are_inside(draw: float, side: str) -> None:
    """The smallest and the largest draw choose the first and the last variant."""
    assert choose_by_draw(variants_of("chat", [("a", 0.9), ("b", 0.1)]), draw) == side
