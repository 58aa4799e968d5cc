"""What single rows say: exact tests of one feature, a classifier over all of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from monitors.baselines import Column, Reference, numbers
from monitors.embeddings.names import group_of
from monitors.explain.directions import compare_directions
from monitors.explain.model import Deep, ExactTest
from stats.anderson import anderson_darling
from stats.cvm import cramer_von_mises
from stats.ecdf import Ecdf
from stats.energy import energy_distance
from stats.errors import StatsError
from stats.ks import ks
from stats.ks_p import ks_p_value
from stats.two_sample_classifier import classify
from stats.wasserstein import wasserstein

MOST_ROWS = 20_000
"""Rows of each window that are read."""
CLASSIFIER_ROWS = 5_000
_SEED = 5
"""Deals the rows into halves: the same rows give the same answer."""


class TwoWindows(NamedTuple):
    """Columns by feature, then and now; then is empty where the baseline's rows are gone."""

    reference: Mapping[str, Column]
    current: Mapping[str, Column]


def deep_look(reference: Reference, rows: TwoWindows) -> Deep:
    """Compare the rows of two windows; a number's own baseline sample stands in for lost rows."""
    notes = []
    tests: tuple[ExactTest, ...] = ()
    now = rows.current.get(reference.feature, ())
    if reference.kind == "numeric":
        before = rows.reference.get(reference.feature)
        if before is None and reference.sample is not None:
            notes.append("then: the baseline's order statistics, since its rows are gone")
        sample = reference.sample if before is None else Ecdf.of(numbers(before))
        try:
            tests = () if sample is None else _tests(sample, Ecdf.of(numbers(now)))
        except StatsError as error:
            notes.append(str(error))
    try:
        tests += compare_directions(group_of(reference.feature), rows.reference, rows.current)
    except StatsError as error:
        notes.append(str(error))
    classifier: ExactTest | None = None
    carries: tuple[tuple[str, float], ...] = ()
    if rows.reference:
        try:
            classifier, carries = _classified(rows)
        except StatsError as error:
            notes.append(f"no classifier: {error}")
    else:
        notes.append("no classifier: the baseline's rows are not in the log")
    return Deep(MOST_ROWS, tests, classifier, carries, "; ".join(notes))


def _tests(before: Ecdf, now: Ecdf) -> tuple[ExactTest, ...]:
    distance = ks(before, now)
    squared = {
        "cramer_von_mises": cramer_von_mises(before, now),
        "anderson_darling": anderson_darling(before, now),
    }
    found = [
        ExactTest.of("ks", distance, ks_p_value(distance.value, before.n, now.n)),
        ExactTest.of("wasserstein", wasserstein(before, now, unit="raw"), None),
        *(ExactTest.of(name, one, one.p_value) for name, one in squared.items()),
        ExactTest.of("energy", energy_distance(before, now), None),
    ]
    return tuple(found)


def _classified(rows: TwoWindows) -> tuple[ExactTest, tuple[tuple[str, float], ...]]:
    names = sorted(rows.reference.keys() & rows.current.keys())
    before, now = ({n: _some(w[n]) for n in names} for w in rows)
    found = classify(before, now, np.random.default_rng(_SEED))
    return ExactTest.of("classifier_auc", found, found.p_value), found.features


def _some(column: Column) -> Column:
    """Return evenly spread rows of a column, the same ones of every column of a window."""
    step = max(1, -(-len(column) // CLASSIFIER_ROWS))
    return column[::step]
