"""Weighted choice among the variants of a route.

With a sticky key: weighted rendezvous hashing. Each variant draws an exponential waiting time
``-ln(u) / weight`` from a hash of (salt, variant, key), and the shortest wins, so that variant i
wins with probability ``weight_i / sum(weights)`` (Efraimidis and Spirakis 2006; Schindelhauer and
Schomaker 2005). A user only ever moves towards variants whose weight grew relative to its own:
when one weight changes against the rest (every canary step, every variant added or removed, every
change of a split in two) exactly the share of users that must move does.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import NamedTuple

_UNIT = 2.0**-53


class Variant(NamedTuple):
    """One side of a split.

    Attributes
    ----------
    name : str
        Name of the upstream.
    weight : float
        Above 0; only the ratios between weights count.
    prefix : bytes
        What is hashed before the sticky key: salt and name.
    """

    name: str
    weight: float
    prefix: bytes


def variants_of(salt: str, weights: Sequence[tuple[str, float]]) -> tuple[Variant, ...]:
    """Return the variants that can be chosen at all; a weight of 0 takes no part.

    Parameters
    ----------
    salt : str
        Name of the route: the same user falls differently in different routes.
    weights : sequence of (str, float)
        Names and shares.
    """
    return tuple(
        Variant(name, weight, b"\0".join((salt.encode(), name.encode(), b"")))
        for name, weight in weights
        if weight > 0
    )


def unit_hash(data: bytes) -> float:
    """Return a number in (0, 1) that any process and version gives for the same bytes."""
    digest = blake2b(data, digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) * _UNIT


def choose_by_key(variants: Sequence[Variant], key: bytes) -> str:
    """Return the variant of a sticky key; the same for ever while the weights stay."""
    if len(variants) == 1:
        return variants[0].name
    best, shortest = "", float("inf")
    for name, weight, prefix in variants:
        wait = -log(unit_hash(prefix + key)) / weight
        if wait < shortest:
            best, shortest = name, wait
    return best


def choose_by_draw(variants: Sequence[Variant], draw: float) -> str:
    """Return the variant of a random draw in [0, 1)."""
    if len(variants) == 1:
        return variants[0].name
    point = draw * sum(variant.weight for variant in variants)
    for name, weight, _ in variants:
        point -= weight
        if point < 0:
            return name
    return variants[-1].name
