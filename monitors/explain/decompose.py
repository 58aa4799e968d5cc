"""Which segment carries a change of shares: what changed within segments, and what their mix did.

With weights a, b and cell shares p, q of a segment before and now, a change is exactly
``sum (a + b) / 2 * (q - p)  +  sum (p + q) / 2 * (b - a)``: the first sum is what the segments'
own laws did, the second what came of the shares of the traffic that they have (E. M. Kitagawa,
Components of a difference between two rates, JASA 50 (1955) 1168-1194; R. Oaxaca, International
Economic Review 14 (1973) 693-709). Over all cells the change is measured by total variation: half
the sum over cells, each with the sign of its whole change, which is linear, so that parts add up.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stats.arrays import CountArray, FloatArray
from stats.confidence import Z
from stats.results import Interval

OTHERS = "(other)"
MOST_VALUES = 20
"""Values of a key that are told apart, the most frequent ones of both windows together."""


@dataclass(frozen=True, slots=True)
class Part:
    """One value of a key.

    Attributes
    ----------
    value : str
        Of the key.
    n_reference, n_current : int
        Rows before and now.
    weight_reference, weight : float
        Share of all rows before and now.
    within, mix : float
        Total variation that its own change, and its changed weight, add; may be negative.
    interval : Interval
        95 % interval of `within`, for the cells' signs as they are.
    moved : float
        Total variation between its own shares before and now; 0 where it has rows in one alone.
    """

    value: str
    n_reference: int
    n_current: int
    weight_reference: float
    weight: float
    within: float
    mix: float
    interval: Interval
    moved: float


@dataclass(frozen=True, slots=True)
class Split:
    """A change, split over the values of one key.

    Attributes
    ----------
    total : float
        Total variation between all rows before and now, in [0, 1]: the sum of all parts.
    within, mix : float
        Sums over the parts.
    parts : tuple of Part
        By what they add, largest first.
    """

    key: str
    total: float
    within: float
    mix: float
    parts: tuple[Part, ...]


def split(
    key: str,
    reference: Mapping[str, CountArray],
    current: Mapping[str, CountArray],
    *,
    weighed: bool = True,
) -> Split | None:
    """Split the change between two windows over the values of a key.

    A value without rows before, or now, has no law of its own there: all it adds is mix.

    Parameters
    ----------
    reference, current : mapping of str to ndarray of int64, shape (cells,)
        Rows by value and cell; values share out all rows.
    weighed : bool
        Rows before say how much of the traffic a value had. If not, as where each value's law is
        that of one variant, it had as much as now, and nothing is mix.

    Returns
    -------
    Split or None
        None where a window has no rows.
    """
    before, now = _kept(reference, current)
    m, n = _rows(before), _rows(now)
    if not m or not n:
        return None
    weights = {
        value: int(counts.sum()) / (m if weighed else n)
        for value, counts in (before if weighed else now).items()
    }
    laws = {value: counts / counts.sum() for value, counts in before.items()}
    all_before = np.sum([weights[v] * law for v, law in laws.items() if v in weights], axis=0)
    all_now = np.sum([*now.values()], axis=0) / n
    signs = np.sign(all_now - all_before)
    middle = float(signs @ (all_before + all_now)) / 2.0
    parts = []
    for value in sorted(before.keys() | now.keys()):
        p, hits = _shares(before.get(value))
        q, rows = _shares(now.get(value))
        p, q = (q if p is None else p), (p if q is None else q)
        assert p is not None, "a value that is kept has rows"
        assert q is not None, "a value that is kept has rows"
        a, b = weights.get(value, 0.0), rows / n
        weight = (a + b) / 4.0
        within = weight * float(signs @ (q - p))
        half = Z * weight * math.hypot(_error(signs, p, hits), _error(signs, q, rows))
        # A segment that is like all others adds nothing by growing: the means add up to zero.
        mix = ((float(signs @ (p + q)) / 2.0) - middle) * (b - a) / 2.0
        if not (hits and rows):
            half = 0.0
        parts.append(
            Part(
                value,
                hits,
                rows,
                a,
                b,
                within,
                mix,
                Interval(within - half, within + half),
                float(np.abs(q - p).sum()) / 2.0,
            )
        )
    parts.sort(key=lambda part: (-(part.within + part.mix), part.value))
    return Split(
        key,
        float(np.abs(all_now - all_before).sum()) / 2.0,
        sum(part.within for part in parts),
        sum(part.mix for part in parts),
        tuple(parts),
    )


def _kept(
    reference: Mapping[str, CountArray], current: Mapping[str, CountArray]
) -> tuple[dict[str, CountArray], dict[str, CountArray]]:
    rows: dict[str, float] = {}
    for window in (reference, current):
        all_rows = _rows(window)
        for value, counts in window.items():
            if value != OTHERS and counts.any():
                rows[value] = rows.get(value, 0.0) + int(counts.sum()) / all_rows
    kept = set(sorted(rows, key=lambda value: (-rows[value], value))[:MOST_VALUES])
    return _gathered(reference, kept), _gathered(current, kept)


def _gathered(counts: Mapping[str, CountArray], kept: set[str]) -> dict[str, CountArray]:
    found: dict[str, CountArray] = {}
    for value, cells in counts.items():
        name = value if value in kept else OTHERS
        if cells.any():
            found[name] = found[name] + cells if name in found else cells
    return found


def _rows(counts: Mapping[str, CountArray]) -> int:
    return sum(int(cells.sum()) for cells in counts.values())


def _shares(counts: CountArray | None) -> tuple[FloatArray | None, int]:
    if counts is None:
        return None, 0
    rows = int(counts.sum())
    return np.asarray(counts / rows, dtype=np.float64), rows


def _error(signs: FloatArray, shares: FloatArray, rows: int) -> float:
    """Return the standard error of a signed sum of shares; 0 without rows."""
    if not rows:
        return 0.0
    mean = float(signs @ shares)
    return math.sqrt(max(0.0, float((signs * signs) @ shares) - mean * mean) / rows)


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries most of a change: a segment by itself, or the mix of a key's values.

    Attributes
    ----------
    key, value : str
        For a mix the value whose weight moved most.
    share : float
        Of the whole change.
    weight_reference, weight : float
        Share of all rows that the segment had and has.
    """

    kind: Literal["within", "mix"]
    key: str
    value: str
    share: float
    weight_reference: float
    weight: float


NAMED_FROM = 0.25
"""Share of a change, beyond its share of the rows, from which a segment or a mix carries it."""


def carriers(splits: Mapping[str, Split]) -> list[Carrier]:
    """Return what carries a change, first what explains most of it.

    A change that all segments share adds to each as much as its share of the rows: none of them
    carries it, and the list is empty.

    Parameters
    ----------
    splits : mapping of str to Split
        By key, the ones that people ask for first in front: of equal ones they win.
    """
    found: list[tuple[float, Carrier]] = []
    for key, one in splits.items():
        if one.total <= 0.0:
            continue
        share = one.mix / one.total
        if share >= NAMED_FROM:
            # Of two that traded places the one that grew is named.
            most = max(one.parts, key=lambda part: (round(abs(_grown(part)), 9), _grown(part)))
            found.append((share, _carrier("mix", key, most, share)))
        for part in one.parts:
            share = part.within / one.total
            # What a change that all segments share adds to this one.
            usual = (part.weight_reference + part.weight) / 2.0
            if share - usual >= NAMED_FROM and part.interval.low > 0.0:
                found.append((share - usual, _carrier("within", key, part, min(1.0, share))))
    # Python sorts stably: of equal ones the first key stays in front.
    found.sort(key=lambda scored: -round(scored[0], 2))
    return [carrier for _, carrier in found]


def _grown(part: Part) -> float:
    return part.weight - part.weight_reference


def _carrier(kind: Literal["within", "mix"], key: str, part: Part, share: float) -> Carrier:
    return Carrier(kind, key, part.value, share, part.weight_reference, part.weight)


def carrier_text(one: Carrier) -> str:
    """Return what a carrier is, in a sentence part."""
    if one.kind == "mix":
        return (
            f"the mix of {one.key} carries {min(1.0, one.share):.0%} of the change:"
            f" `{one.key}={one.value}` went from {one.weight_reference:.0%} to {one.weight:.0%}"
            " of the rows"
        )
    return (
        f"`{one.key}={one.value}` carries {one.share:.0%} of the change"
        f" with {one.weight:.0%} of the rows: its own values changed"
    )
