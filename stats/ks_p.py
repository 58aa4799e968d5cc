"""P-value of Kolmogorov-Smirnov."""

from stats.errors import InvalidInput, NotEnoughSamples
from stats.ks_law import ks_sf


def ks_p_value(d: float, m: int, n: int) -> float:
    """Chance of at least `d` without drift, as scipy's `ks_2samp(method="asymp")` has it.

    Parameters
    ----------
    d : float
        In [0, 1]; from cells, the value at the edges, which makes the p-value conservative.
    m, n : int
        Rows of the reference and of the current window.

    Returns
    -------
    float
        In [0, 1]; 1.0 where the law's size m n / (m + n) rounds to 0.
        Conservative under ties.

    References
    ----------
    R. Simard and P. L'Ecuyer, Computing the two-sided Kolmogorov-Smirnov distribution, Journal
    of Statistical Software 39/11 (2011).
    """
    if min(m, n) < 1:
        raise NotEnoughSamples(min(m, n), 1)
    if not 0.0 <= d <= 1.0:
        raise InvalidInput(f"d is {d}; a distance of distribution functions lies in 0..1.")
    # In the order that scipy divides, so that the rounded size is the same.
    large, small = float(max(m, n)), float(min(m, n))
    size = round(large * small / (large + small))
    return ks_sf(d, size) if size else 1.0
