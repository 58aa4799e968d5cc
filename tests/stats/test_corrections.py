import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import false_discovery_control

from stats.corrections import (
    benjamini_hochberg,
    e_benjamini_hochberg,
    e_to_p,
    holm,
    mean_e_value,
    p_to_e,
)
from stats.errors import InvalidInput


def test_benjamini_hochberg_equals_scipy() -> None:
    """Ties included, to 1e-12."""
    p = np.random.default_rng(1).random(200).round(2)
    np.testing.assert_allclose(
        benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12, atol=1e-15
    )


def test_holm_by_hand() -> None:
    """The least times four, the next times three, never falling, never above one."""
    assert holm([0.5, 0.01, 0.02, 0.4]).tolist() == pytest.approx([0.8, 0.04, 0.06, 0.8])
    assert holm([]).tolist() == []


def test_holm_keeps_its_level() -> None:
    """Of 25 true hypotheses none is rejected in at least 95 % of the runs, nearly."""
    p = np.random.default_rng(2).random((2_000, 25))
    wrong = np.mean([bool((holm(row) <= 0.05).any()) for row in p])
    assert 0.03 < wrong < 0.065


def test_e_values_keep_the_false_discovery_rate() -> None:
    """Fully dependent e-values included: the share of false ones is at most alpha."""
    generator = np.random.default_rng(3)
    shares = []
    for _ in range(2_000):
        null = np.full(10, math.exp(2.0 * generator.normal() - 2.0))
        real = np.exp(2.0 * generator.normal(2.0, 1.0, size=10) - 2.0)
        chosen = e_benjamini_hochberg(np.concatenate((null, real)), 0.2)
        shares.append(chosen[:10].sum() / max(1, chosen.sum()))
    assert np.mean(shares) <= 0.1 + 0.02


def test_infinite_evidence_is_chosen() -> None:
    """It refutes alone."""
    assert e_benjamini_hochberg([0.0, math.inf], 0.01).tolist() == [False, True]


@pytest.mark.parametrize("p", [1e-9, 1e-3, 0.2, 0.9, 1.0 - 1e-3])
def test_the_calibrator_is_its_integral(p: float) -> None:
    """The mean over kappa of kappa p^(kappa - 1)."""
    expected, _ = quad(lambda kappa: kappa * p ** (kappa - 1.0), 0.0, 1.0, epsabs=0.0, limit=400)
    assert p_to_e(p) == pytest.approx(expected, rel=1e-8)


def test_the_calibrator_meets_its_ends() -> None:
    """Certainty is infinite, no evidence a half, and nothing jumps between."""
    assert p_to_e(0.0) == math.inf
    assert p_to_e(1.0) == 0.5
    assert p_to_e(1.0 - 1.01e-4) == pytest.approx(p_to_e(1.0 - 0.99e-4), abs=1e-6)


def test_weights_are_shares_of_the_mean() -> None:
    """What has no weight takes no part, were it infinite."""
    assert mean_e_value([8.0, 2.0, math.inf], [1.0, 2.0, 0.0]) == 4.0
    assert e_to_p(0.3) == 1.0


@pytest.mark.parametrize("values", [[0.1, 1.2], [math.nan], [[0.1]]])
def test_what_is_no_chance_is_refused(values: list[float]) -> None:
    """NaN included, since it would be rejected or not by where it sorts."""
    with pytest.raises(InvalidInput):
        holm(values)


def test_what_is_no_evidence_is_refused() -> None:
    """Negative and unknown e-values, unfit weights and levels."""
    for call in (
        lambda: mean_e_value([-1.0]),
        lambda: mean_e_value([1.0], [0.0]),
        lambda: mean_e_value([]),
        lambda: e_to_p(math.nan),
        lambda: e_benjamini_hochberg([1.0], 1.0),
    ):
        with pytest.raises(InvalidInput):
            call()
