import doctest
import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import stats
from stats.arrays import FloatArray
from stats.cells import NumericCells
from stats.errors import StatsError
from stats.methods import METHODS, Method
from stats.results import Measurement

BEFORE = np.random.default_rng(1).normal(size=400).round(6)
NOW = np.random.default_rng(2).normal(0.3, 1.2, size=150).round(6)

each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def _measure(method: Method, before: FloatArray, now: FloatArray) -> Measurement:
    if method.takes == "rows":
        return method.function(before, now)
    cells = NumericCells.from_reference(before)
    return method.function(cells.count(before), cells.count(now))


@each_method
def test_identical_windows_are_zero_apart(method: Method) -> None:
    """A window compared with itself has no effect, and its interval holds zero."""
    found = _measure(method, BEFORE, BEFORE)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.interval.low == 0.0


@each_method
def test_value_lies_in_its_range_and_interval(method: Method) -> None:
    """The value lies within the stated range and its own interval; sizes are told."""
    found = _measure(method, BEFORE, NOW)
    assert 0.0 < found.value <= method.high
    assert 0.0 <= found.interval.low <= found.value <= found.interval.high
    assert (found.n_reference, found.n_current) == (400, 150)


@each_method
def test_order_of_rows_does_not_matter(method: Method) -> None:
    """Shuffled windows give the same answer."""
    generator = np.random.default_rng(3)
    shuffled = _measure(method, generator.permutation(BEFORE), generator.permutation(NOW))
    assert shuffled == _measure(method, BEFORE, NOW)


@each_method
def test_symmetry_is_as_stated(method: Method) -> None:
    """Exchanging the windows changes the value if and only if the table says so."""
    if method.takes == "rows":
        there, back = method.function(BEFORE, NOW).value, method.function(NOW, BEFORE).value
    else:
        cells = NumericCells.from_reference(BEFORE)
        p, q = cells.count(BEFORE), cells.count(NOW)
        there, back = method.function(p, q).value, method.function(q, p).value
    assert (abs(there - back) < 1e-12) == method.symmetric


@each_method
def test_invariance_to_shift_is_as_stated(method: Method) -> None:
    """Adding 8 to every row of both windows changes nothing where the table says so."""
    moved = _measure(method, BEFORE + 8.0, NOW + 8.0).value
    same = moved == pytest.approx(_measure(method, BEFORE, NOW).value, rel=1e-9)
    assert same == method.shift_invariant


@each_method
def test_invariance_to_scale_is_as_stated(method: Method) -> None:
    """Multiplying every row of both windows by 4 changes nothing where the table says so."""
    scaled = _measure(method, BEFORE * 4.0, NOW * 4.0).value
    same = scaled == pytest.approx(_measure(method, BEFORE, NOW).value, rel=1e-9)
    assert same == method.scale_invariant


@each_method
def test_a_larger_shift_is_a_larger_effect(method: Method) -> None:
    """The value grows with the shift of a window."""
    found = [_measure(method, BEFORE, BEFORE + shift).value for shift in (0.0, 0.2, 0.5, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[1] > found[0]


@each_method
def test_more_rows_narrow_the_interval(method: Method) -> None:
    """Ten times the rows of the same windows narrow the interval."""
    few = _measure(method, BEFORE, NOW).interval
    many = _measure(method, np.tile(BEFORE, 10), np.tile(NOW, 10)).interval
    assert many.high - many.low < few.high - few.low


@each_method
def test_repetition_does_not_change_the_value(method: Method) -> None:
    """Every row three times is the same effect, but for smoothing and for rows that are read."""
    once = _measure(method, BEFORE, NOW).value
    thrice = _measure(method, np.repeat(BEFORE, 3), np.repeat(NOW, 3)).value
    tolerance = {"psi": 0.1, "kl_divergence": 0.1, "mmd": 1e-3}.get(method.name, 1e-9)
    assert thrice == pytest.approx(once, rel=tolerance)


@each_method
def test_empty_window_is_an_answer_of_its_own(method: Method) -> None:
    """Neither NaN nor zero: an empty window raises."""
    with pytest.raises(StatsError):
        _measure(method, BEFORE, np.array([]))


@pytest.mark.parametrize(
    "name", [f"stats.{module.name}" for module in pkgutil.iter_modules(stats.__path__)]
)
def test_examples_in_docstrings_hold(name: str) -> None:
    """Examples print what they say."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_no_module_imports_scipy() -> None:
    """Its laws are ours, since it takes seconds of CPU to import; it is the oracle of tests."""
    modules = [f"stats.{m.name}" for m in pkgutil.iter_modules(stats.__path__)]
    program = f"import sys, {', '.join(modules)}; sys.exit('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=50)
    assert done.returncode == 0
