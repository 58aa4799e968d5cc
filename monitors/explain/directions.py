"""Whether the directions of an embedding moved together: one distance over all of them at once."""

from collections.abc import Mapping, Sequence

import numpy as np

from monitors.baselines import Column, numbers
from monitors.embeddings.names import group_of
from monitors.explain.model import ExactTest
from stats.arrays import FloatArray
from stats.mmd import mmd, mmd_p_value

MOST_ROWS = 1_000
"""Rows of each window: time grows with their square, and with the permutations."""
_SEED = 5
_LENGTH = ".norm"  # in a unit of its own


def compare_directions(
    group: str | None, reference: Mapping[str, Column], current: Mapping[str, Column]
) -> tuple[ExactTest, ...]:
    """Return the maximum mean discrepancy of an embedding's parts along the fixed directions.

    Parameters
    ----------
    group : str or None
        As `monitors.embeddings.names.group_of` has it.
    reference, current : mapping of str to column
        Rows of both windows by feature.

    Returns
    -------
    tuple of ExactTest
        Empty of what is no embedding, and where a window lacks the directions.

    Raises
    ------
    NotEnoughSamples
        A window has fewer than two embeddings.
    """
    names = sorted(
        name
        for name in reference.keys() & current.keys()
        if group is not None and group_of(name) == group and not name.endswith(_LENGTH)
    )
    if not names:
        return ()
    before, now = (_embedded(rows, names) for rows in (reference, current))
    found = mmd(before, now)
    chance = mmd_p_value(before, now, np.random.default_rng(_SEED))
    return (ExactTest.of(f"mmd of {group}", found, chance),)


def _embedded(rows: Mapping[str, Column], names: Sequence[str]) -> FloatArray:
    """Return rows that have an embedding, evenly spread ones where there are many."""
    parts = np.column_stack([numbers(rows[name]) for name in names])
    parts = parts[np.isfinite(parts).all(axis=1)]
    return parts[:: max(1, -(-len(parts) // MOST_ROWS))]
