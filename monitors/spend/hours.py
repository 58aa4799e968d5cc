"""An hour of cost, tokens or requests against the same hour of earlier days.

The usual is the median of up to 28 days, in logarithms, so that "twice" weighs the same at any
size. How far an hour strays by luck is told by the median absolute deviation; since a few days say
little of that, it is mixed with what hours of services are wont to do (`WONT_SD`, as good as
`WONT_DEGREES` days), and Student's law with that many degrees of freedom sets the threshold: after
3 days only a sixtyfold hour stands out, after 8 a tenfold and after 4 weeks a threefold one.

Three gates: the threshold at the look's share of the budget, the configured ratio, and more than
any of the earlier days by `BEYOND`, so that a weekly rhythm is no anomaly once it was seen.

Source: F. Hampel, The influence curve and its role in robust estimation, JASA 69 (1974) 383-393
(the deviation); A. Gelman et al., Bayesian Data Analysis (2013), 2.6 (the mixed variance).
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from stats.confidence import LEVEL
from stats.tails import student_tail

LEAST_DAYS = 3
DAYS = 28
NORMAL_MAD = 1.4826
"""Standard deviation of a normal law in its median absolute deviations."""
MAD_EFFICIENCY = 0.37
"""How much of a day the deviation makes use of."""
WONT_SD = 0.3
WONT_DEGREES = 4.0
BEYOND = 1.5
_HALVINGS = 40


class Hour(NamedTuple):
    """An hour beside the usual one.

    Attributes
    ----------
    usual : float
        Median of the earlier days, at least `least`.
    ratio : float
        The hour over `usual`.
    low, high : float
        95 % interval of `ratio`: how well the usual is known.
    threshold : float
        Ratio that luck exceeds with the chance that the look may spend.
    most : float
        Greatest of the earlier days over `usual`.
    days : int
        Earlier days.
    """

    usual: float
    ratio: float
    low: float
    high: float
    threshold: float
    most: float
    days: int

    def stands_out(self, ratio: float) -> bool:
        """Say whether all gates open; `ratio` is the configured one."""
        return self.ratio > max(ratio, self.threshold, BEYOND * self.most)

    def is_calm(self, ratio: float) -> bool:
        """Say whether an episode ends: less than half of what matters is left."""
        return self.ratio < 1.0 + (ratio - 1.0) / 2.0


class Least(NamedTuple):
    """What keeps small numbers from being anomalies.

    Attributes
    ----------
    value : float
        The measure of `rows` requests as they are now; less is taken for so much.
    rows : float
        Requests of the usual hour, whose number itself strays (Poisson).
    """

    value: float
    rows: float


def beside(now: float, earlier: Sequence[float], least: Least, alpha: float) -> Hour | None:
    """Return an hour beside the same hour of earlier days; None with fewer than `LEAST_DAYS`.

    Parameters
    ----------
    now : float
        Cost, tokens or requests of the hour, >= 0.
    earlier : sequence of float
        The same of earlier days, in any order.
    alpha : float
        Chance of a false alarm that this look at this measure may spend.
    """
    days = len(earlier)
    if days < LEAST_DAYS or least.value <= 0.0:
        return None
    logs = [math.log(max(value, least.value)) for value in earlier]
    middle = median(logs)
    spread = NORMAL_MAD * median(abs(value - middle) for value in logs)
    degrees = MAD_EFFICIENCY * (days - 1)
    known = WONT_DEGREES + degrees
    variance = (WONT_DEGREES * WONT_SD**2 + degrees * spread**2) / known
    scale = math.sqrt(variance * (1.0 + 1.0 / days) + 1.0 / max(1.0, least.rows))
    usual = math.exp(middle)
    ratio = now / usual
    doubt = math.exp(_quantile((1.0 - LEVEL) / 2.0, known) * math.sqrt(variance / days))
    return Hour(
        usual=usual,
        ratio=ratio,
        low=ratio / doubt,
        high=ratio * doubt,
        threshold=math.exp(_quantile(alpha, known) * scale),
        most=max(earlier) / usual,
        days=days,
    )


def _quantile(tail: float, degrees: float) -> float:
    """Return what Student's law exceeds with chance `tail`, in (0, 0.5)."""
    high = 1.0
    while student_tail(high, degrees) > tail:
        high *= 2.0
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if student_tail(middle, degrees) > tail else (low, middle)
    return high
