"""Whether few errors say that a share is exceeded: the lower bound of an exact interval."""

import math

_TAIL = 0.025
_Z = 1.959963984540054
_EXACT_UP_TO = 1000
"""Hits from which Wilson's interval is as good."""


def share_exceeds(hits: int, n: int, level: float) -> bool:
    """Say whether the 95 % interval of a share lies above a level.

    Exact for few hits: Clopper and Pearson's lower end is above the level if and only if as many
    hits come with a chance below 2.5 % where the share is the level. One hit of three does not
    show more than 1 %; Wilson's interval, too narrow there, would.

    Parameters
    ----------
    hits, n : int
        0 <= hits <= n, n >= 1.
    level : float
        In [0, 1).

    References
    ----------
    C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the
    case of the binomial, Biometrika 26 (1934) 404-413.

    Examples
    --------
    >>> share_exceeds(1, 3, 0.01), share_exceeds(2, 8, 0.01)
    (False, True)
    """
    if hits == 0 or hits <= n * level:
        return False
    if level == 0.0:
        return True
    if hits > _EXACT_UP_TO:
        # Wilson's lower end is the level at which the score test just rejects.
        return hits - n * level > _Z * math.sqrt(n * level * (1.0 - level))
    fewer = math.fsum(math.exp(_log_chance(k, n, level)) for k in range(hits))
    return 1.0 - fewer < _TAIL


def _log_chance(hits: int, n: int, share: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(hits + 1) - math.lgamma(n - hits + 1)
    return ways + hits * math.log(share) + (n - hits) * math.log1p(-share)
