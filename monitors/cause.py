"""What changed most between a feature's reference and its window, in words."""

from typing import Literal, NamedTuple

from monitors.cell_words import range_words
from monitors.drift import Comparison, Contribution
from monitors.signals.table import SIGNALS_BY_NAME

UNIT_FACTORS = (1000.0, 0.001, 1e6, 1e-6, 100.0, 0.01, 60.0, 1.0 / 60.0)
UNIT_TOLERANCE = 0.1
"""How far, relative, the medians' ratio may lie from a factor to look like a change of unit."""
_OTHER_FLAG = {"false": "true", "true": "false"}


class Cause(NamedTuple):
    """What changed most: a closed word, and a sentence part for people who read an alert."""

    kind: Literal["none", "missing", "new_category", "category", "unit", "median", "shape"]
    text: str


def likely_cause(comparison: Comparison) -> str:
    """Return one sentence part on what changed most, for people who read an alert."""
    return cause_of(comparison).text


def cause_of(comparison: Comparison) -> Cause:
    """Return what changed most."""
    top = comparison.contributions[0] if comparison.contributions else None
    if top is None:
        return Cause("none", "nothing changed")
    moved = f"went from {top.reference:.1%} to {top.current:.1%} of rows"
    if top.cell == "missing":
        return Cause("missing", f"missing values {moved}")
    if top.cell == "new":
        return _cause_of_new(comparison, top, moved)
    if comparison.medians is not None:
        return _cause_of_number(comparison.medians, top)
    if comparison.kind == "categorical":
        return Cause("category", f"`{top.cell}` {moved}")
    return Cause("shape", f"{_values_of(top.cell)} {moved}")


def _cause_of_new(comparison: Comparison, top: Contribution, moved: str) -> Cause:
    named = {one.cell for one in comparison.contributions} & set(_OTHER_FLAG)
    if comparison.feature in SIGNALS_BY_NAME and len(named) == 1:
        # A flag that always said the same: its other word is no surprise in kind, only in share.
        return Cause("category", f"`{_OTHER_FLAG[named.pop()]}` {moved}")
    text = f"categories that the baseline never had, {top.current:.1%} of rows"
    # Of counts by cell nobody knows the names.
    names = ", ".join(f"`{name}`" for name in comparison.new_examples)
    return Cause("new_category", f"{text}: {names}" if names else text)


def _cause_of_number(medians: tuple[float, float], top: Contribution) -> Cause:
    before, now = medians
    ratio = now / before if before else 0.0
    for factor in UNIT_FACTORS:
        if abs(ratio / factor - 1.0) < UNIT_TOLERANCE:
            text = f"values are {factor:g} times what they were: the unit may have changed"
            return Cause("unit", text)
    if now != before:
        return Cause("median", f"the median went from {before:g} to {now:g}")
    cell = range_words(top.cell)
    text = f"the shape changed: {cell} holds {top.current:.1%}, was {top.reference:.1%} of rows"
    return Cause("shape", text)


def _values_of(cell: str) -> str:
    words = range_words(cell)
    least = words.removeprefix("from ")
    return f"values {words}" if least == words else f"values of {least} and more"
