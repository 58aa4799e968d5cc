import numpy as np
import pytest
from scipy.special import chdtrc, chdtri
from scipy.stats import ksone, kstwo, ncx2, norm

from stats.chi2_law import chi2_isf, chi2_sf, noncentrality_of
from stats.errors import InvalidInput
from stats.ks_law import ks_sf, one_sided_sf

DEGREES = (1, 2, 3, 4, 9, 10, 25, 53, 200, 1001)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_chi_square_tail_equals_scipy(degrees: int) -> None:
    """To 1e-11 of the chance itself, from the middle to 1e-300."""
    for x in np.geomspace(1e-6, 1400.0, 80).tolist():
        assert chi2_sf(x, degrees) == pytest.approx(chdtrc(degrees, x), rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_inverse_of_the_tail_equals_scipy(degrees: int) -> None:
    """To 1e-10, for the levels that monitors spend and far beyond."""
    for share in (0.999, 0.5, 0.05, 1e-3, 1e-6, 1e-9, 1e-15, 1e-50, 1e-200):
        assert chi2_isf(share, degrees) == pytest.approx(chdtri(degrees, share), rel=1e-10)


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 10, 53])
@pytest.mark.parametrize("share", [0.025, 0.975])
def test_the_noncentrality_gives_its_share_back(degrees: int, share: float) -> None:
    """The noncentral law at what was found has the share that was asked, to 1e-9."""
    for x in (0.01, 0.5, 1.0, 2.0, 9.0, 20.0, 100.0, 1e3, 1e4, 9.9e4):
        found = noncentrality_of(x, degrees, share, float(norm.isf(share)))
        if found == 0.0:
            assert 1.0 - chdtrc(degrees, x) <= share
        else:
            assert ncx2.cdf(x, degrees, found) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 33, 100, 140, 141, 500, 4096, 100_000, 500_000])
def test_the_kolmogorov_tail_equals_scipy(n: int) -> None:
    """To 1e-9 of the chance itself, over the whole range and to 1e-280."""
    points = 60 if n <= 4096 else 10
    for d in (*np.geomspace(0.3 / n, 0.9999, points).tolist(), 0.5, 1.0 / n, 1.0):
        expected = float(kstwo.sf(d, n))
        if expected > 1e-280:
            assert ks_sf(d, n) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [1, 4, 30, 1000])
def test_the_one_sided_tail_equals_scipy(n: int) -> None:
    """Where it falls on the border of a term, too."""
    for d in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0 - 1e-9):
        expected = float(ksone.sf(d, n))
        if expected > 1e-280:
            assert one_sided_sf(d, n) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_chance_lies_between_0_and_1(share: float) -> None:
    """Nothing exceeds an infinite value, and everything the least one."""
    with pytest.raises(InvalidInput):
        chi2_isf(share, 3)


def test_a_law_without_freedom_is_refused() -> None:
    """It would be a constant."""
    with pytest.raises(InvalidInput):
        chi2_sf(1.0, 0)
