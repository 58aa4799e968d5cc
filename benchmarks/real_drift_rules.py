"""What fixed rules of other monitors say of the same rows, look by look."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from drift_rules import RULES, Rule, episodes, measured
from drift_streams import Stream, prepare
from real_drift_data import Column

RULE_NAMES = (
    "PSI > 0.1, look",
    "PSI > 0.2, look",
    "KS p < .05, look",
    "chi2 fit p < .05, look (Evidently, whylogs)",
    "W1/sd > 0.1, hour",
    "JS, 3 sigma over chunks (NannyML)",
)
"""Of `drift_rules.RULES`."""


class Said(NamedTuple):
    """What a rule said of one feature.

    Attributes
    ----------
    alarms : ndarray of bool, shape (looks,)
    """

    rule: str
    feature: str
    alarms: Any

    @property
    def episodes(self) -> int:
        """How often it began to alarm."""
        return episodes(self.alarms) if self.alarms.size else 0


def judged(reference: Mapping[str, Column], rows: Mapping[str, Column], look: int) -> list[Said]:
    """Apply every rule to every column; rows are cut into looks of `look`."""
    found = []
    for name, column in rows.items():
        before, now, categories = _coded(reference[name], column)
        looks = now[: now.size // look * look].reshape(-1, look)
        prepared = prepare(Stream(name, _nothing, categories), before, bins=10)
        for rule in _rules(categories):
            with np.errstate(invalid="ignore", divide="ignore"):
                alarms = measured(rule, prepared, before, looks) >= rule.level
            found.append(Said(rule.name, name, alarms))
    return found


def _rules(categories: int) -> list[Rule]:
    chosen = [rule for rule in RULES if rule.name in RULE_NAMES]
    return [rule for rule in chosen if not (categories and rule.numbers_only)]


def _coded(reference: Column, rows: Column) -> tuple[Any, Any, int]:
    """Return reference and rows as numbers, and how many categories there are."""
    if reference.dtype.kind == "f":
        return reference, rows, 0
    words = sorted({str(word) for word in [*reference, *rows] if word is not None})
    codes = {word: float(place) for place, word in enumerate(words)}
    before, now = (
        np.array([np.nan if word is None else codes[str(word)] for word in column])
        for column in (reference, rows)
    )
    return before, now, len(words)


def _nothing(_generator: np.random.Generator, _looks: int, _n: int) -> Any:
    raise NotImplementedError("real rows are not drawn")
