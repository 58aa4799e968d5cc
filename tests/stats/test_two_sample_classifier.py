import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from stats.errors import InvalidInput, NotEnoughSamples
from stats.two_sample_classifier import Column, _area, _fit, classify


def test_undrifted_windows_keep_the_level() -> None:
    """Of undrifted windows at most about 5 % have p <= 0.05."""
    generator = np.random.default_rng(1)
    low = 0
    for _ in range(100):
        windows = [
            {"a": generator.normal(size=60), "b": generator.choice(["x", "y", "z"], 60).tolist()}
            for _ in range(2)
        ]
        low += classify(windows[0], windows[1], generator).p_value <= 0.05
    assert low <= 11


def test_it_names_the_feature_that_carries_the_change() -> None:
    """Of five features the one that widened comes first; the others stay near 1/2."""
    generator = np.random.default_rng(2)
    before = {f"f{k}": generator.normal(size=500) for k in range(5)}
    now = {f"f{k}": generator.normal(size=400) for k in range(5)}
    now["f3"] = now["f3"] * 1.8
    found = classify(before, now, generator)
    assert found.features[0][0] == "f3"
    assert found.features[1][1] < 0.56
    assert found.p_value < 1e-6
    assert found.interval.low > 0.55


def test_categories_and_missing_rows_tell_windows_apart() -> None:
    """A new category and a rising share of missing numbers are seen."""
    generator = np.random.default_rng(3)
    rows = generator.normal(size=300)
    holes = np.where(generator.random(300) < 0.3, np.nan, rows)
    same = ["x", "y"] * 150
    before: dict[str, Column] = {"number": rows, "name": same}
    now: dict[str, Column] = {"number": holes, "name": same}
    assert classify(before, now, generator).features[0][0] == "number"
    new = [None if k % 10 == 0 else "z" if k % 5 == 0 else "x" for k in range(300)]
    now = {"number": rows, "name": new}
    assert classify(before, now, generator).features[0][0] == "name"


def test_constants_tell_nothing() -> None:
    """Equal columns without spread have an area of a half and p = 1."""
    window: dict[str, Column] = {"a": np.ones(40), "b": ["x"] * 40, "c": np.full(40, np.nan)}
    found = classify(window, window, np.random.default_rng(4))
    assert (found.value, found.p_value) == (0.5, 1.0)


def test_the_area_equals_scipy() -> None:
    """Area and chance are Mann and Whitney's with ties, to 1e-12."""
    generator = np.random.default_rng(5)
    scores, labels = generator.normal(size=90).round(1), np.repeat([0.0, 1.0], [50, 40])
    expected = mannwhitneyu(
        scores[50:], scores[:50], alternative="greater", use_continuity=False, method="asymptotic"
    )
    found = _area(scores, labels)
    assert found.value == pytest.approx(expected.statistic / 2_000, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-12)


def test_the_fit_is_where_the_slope_vanishes() -> None:
    """Newton's method ends at the maximum, of separable rows as well."""
    generator = np.random.default_rng(6)
    rows = generator.normal(size=(80, 3))
    for labels in ((rows[:, 0] + generator.normal(size=80) > 0.0), rows[:, 1] > 0.0):
        weights = _fit(rows, labels.astype(float))
        table = np.concatenate((np.ones((80, 1)), rows), axis=1)
        chance = 1.0 / (1.0 + np.exp(-table @ weights))
        np.testing.assert_allclose(table.T @ (labels - chance), 1e-2 * weights, atol=1e-6)


def test_windows_that_do_not_fit_are_refused() -> None:
    """Other columns, other lengths, too few rows."""
    window = {"a": np.zeros(30), "b": np.zeros(30)}
    generator = np.random.default_rng(7)
    with pytest.raises(InvalidInput, match="other columns"):
        classify(window, {"a": np.zeros(30)}, generator)
    with pytest.raises(InvalidInput, match="as many in each"):
        classify(window, {"a": np.zeros(30), "b": np.zeros(29)}, generator)
    with pytest.raises(NotEnoughSamples, match="current window has 19"):
        classify({"a": np.zeros(30)}, {"a": np.zeros(19)}, generator)
