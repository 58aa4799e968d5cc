"""Many tests at once: adjusted p-values, false discoveries of e-values, and what joins the two."""

import math

import numpy as np
import numpy.typing as npt

from stats.arrays import BoolArray, FloatArray
from stats.errors import InvalidInput


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that any false rejection at all has the chance alpha.

    Parameters
    ----------
    p_values : array_like of float, shape (k,)
        In [0, 1], under any dependence; k may be 0.

    Returns
    -------
    ndarray of float64, shape (k,)
        In [0, 1], in the order given; reject what is at most alpha.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979) 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _chances(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return _in_place(np.minimum(1.0, stepped), order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the expected share of false rejections is at most alpha.

    Parameters
    ----------
    p_values : array_like of float, shape (k,)
        In [0, 1], independent or positively dependent; k may be 0.

    Returns
    -------
    ndarray of float64, shape (k,)
        In [0, 1], in the order given; reject what is at most alpha. Never above `holm`.

    References
    ----------
    Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, Journal of the Royal
    Statistical Society B 57 (1995) 289-300.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = _chances(p_values)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * p.size / np.arange(1, p.size + 1)
    return _in_place(np.minimum(1.0, np.minimum.accumulate(stepped[::-1])[::-1]), order)


def e_benjamini_hochberg(e_values: npt.ArrayLike, alpha: float) -> BoolArray:
    """Choose e-values so that the expected share of false ones is at most `alpha`.

    Parameters
    ----------
    e_values : array_like of float, shape (k,)
        >= 0, infinity included, under any dependence; k may be 0.
    alpha : float
        In (0, 1).

    Returns
    -------
    ndarray of bool, shape (k,)
        True for the j largest, with the largest j of which the j-th is at least k / (alpha j).

    References
    ----------
    R. Wang and A. Ramdas, False discovery rate control with e-values, Journal of the Royal
    Statistical Society B 84 (2022) 822-852.

    Examples
    --------
    >>> e_benjamini_hochberg([100.0, 1.0, 25.0], 0.1).tolist()
    [True, False, True]
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInput(f"alpha is {alpha}; a chance lies between 0 and 1.")
    e = _evidence(e_values)
    order = np.argsort(-e, kind="stable")
    enough = np.flatnonzero(e[order] * np.arange(1, e.size + 1) >= e.size / alpha)
    chosen = np.zeros(e.size, dtype=np.bool_)
    chosen[order[: enough[-1] + 1 if enough.size else 0]] = True
    return chosen


def mean_e_value(e_values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Merge e-values of one hypothesis; the mean stays one under any dependence.

    Parameters
    ----------
    e_values : array_like of float, shape (k,)
        >= 0, k >= 1.
    weights : array_like of float, shape (k,), optional
        >= 0 and fixed before the data were seen; default equal.

    References
    ----------
    V. Vovk and R. Wang, E-values: calibration, combination and applications, Annals of
    Statistics 49 (2021) 1736-1754.

    Examples
    --------
    >>> mean_e_value([10.0, 0.0, 2.0])
    4.0
    """
    e = _evidence(e_values)
    shares = np.ones(e.size) if weights is None else _evidence(weights)
    if shares.shape != e.shape or not shares.sum() > 0.0:
        raise InvalidInput(f"{e.size} e-values need as many weights, not all of them zero.")
    kept = shares > 0.0
    return float(np.dot(e[kept], shares[kept]) / shares.sum())


def p_to_e(p_value: float) -> float:
    """Turn a p-value into an e-value, so that it may be averaged with others.

    Parameters
    ----------
    p_value : float
        In [0, 1].

    Returns
    -------
    float
        (1 - p + p log p) / (p log(p)^2), the mean of all kappa p^(kappa - 1); infinite at 0,
        1/2 at 1.

    References
    ----------
    As `mean_e_value`, section 2.

    Examples
    --------
    >>> round(p_to_e(0.001), 2)
    20.79
    """
    p = float(_chances([p_value])[0])
    if p == 0.0:
        return math.inf
    if p > 1.0 - 1e-4:
        # The closed form is 0 / 0 here.
        return 0.5 + (1.0 - p) / 6.0
    log = math.log(p)
    return (1.0 - p + p * log) / (p * log * log)


def e_to_p(e_value: float) -> float:
    """Turn an e-value into a p-value that holds at every look: min(1, 1 / e).

    Examples
    --------
    >>> e_to_p(20.0)
    0.05
    """
    e = float(_evidence([e_value])[0])
    return 1.0 if e <= 1.0 else 1.0 / e


def _chances(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.all((array >= 0.0) & (array <= 1.0)):
        raise InvalidInput("p-values are one row of numbers in 0..1; leave tests without one out.")
    return array


def _evidence(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.all(array >= 0.0):
        raise InvalidInput("e-values and weights are one row of numbers >= 0.")
    return array


def _in_place(stepped: FloatArray, order: npt.NDArray[np.int64]) -> FloatArray:
    found = np.empty_like(stepped)
    found[order] = stepped
    return found
