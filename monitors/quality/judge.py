"""Whether rates of bad values are a breach: contracts at once, other rates by evidence.

What is declared is breached by any share above its tolerance (the lower end of Wilson's interval
must lie above it). What nobody declared is compared with the baseline: the rise must be as likely
without a change as the look may spend at most (Fisher's exact test, so that small counts and
frozen references are no alarm), and matter in points.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from stats.confidence import LEVEL, newcombe, wilson
from stats.results import Interval
from stats.tails import binomial_tail, hypergeometric_tail

CRITICAL_SHARE = 0.1
"""Bad rows, or the rise of their share, that a breach surely has when it is critical."""
_DOUBT = (1.0 - LEVEL) / 2.0


class Share(NamedTuple):
    """Rows of a kind among all."""

    hits: int
    rows: int

    @property
    def value(self) -> float:
        """The share, 0..1; 0 of nothing."""
        return self.hits / self.rows if self.rows else 0.0

    def thinned(self, dispersion: float) -> "Share":
        """Return as many independent rows as these are worth, some rows of the kind among them."""
        rows = math.ceil(self.rows / dispersion)
        return Share(min(rows, round(self.hits / dispersion)), rows)


class Check(NamedTuple):
    """One thing that may be wrong with a feature.

    Attributes
    ----------
    name : str
        Statistic of the verdict, such as `missing_rate`.
    words : str
        What its rows are, for people.
    level : float
        Declared: share that is tolerated. Otherwise: rise of the share that matters.
    before : Share or None
        Of the baseline; None is a declared contract.
    """

    name: str
    words: str
    now: Share
    level: float
    before: Share | None = None


class Finding(NamedTuple):
    """What a check found.

    Attributes
    ----------
    interval : Interval
        95 % interval of the share now; of an undeclared rate, of its rise.
    chance : float or None
        Of so great a rise without a change; None of contracts.
    """

    check: Check
    interval: Interval
    chance: float | None
    is_breach: bool
    is_calm: bool

    @property
    def effect(self) -> float:
        """The share now; of an undeclared rate, its rise."""
        before = self.check.before
        return self.check.now.value - (0.0 if before is None else before.value)

    @property
    def is_critical(self) -> bool:
        """Whether the share, or its rise, is surely `CRITICAL_SHARE`; one row of one is not."""
        now = self.check.now
        if self.check.before is not None:
            return self.interval.low >= CRITICAL_SHARE
        # Exactly: Wilson's interval of one row of one begins at 0.2.
        return now.hits > 0 and binomial_tail(now.hits, now.rows, CRITICAL_SHARE) <= _DOUBT


class Limits(NamedTuple):
    """What a look may spend on a check, and how many rows it needs."""

    alpha: float
    min_samples: int


def found(check: Check, limits: Limits, dispersion: float = 1.0) -> Finding | None:
    """Return what a check found; None where there are too few rows to say.

    Contracts need one row, rates of either window `limits.min_samples`.

    Parameters
    ----------
    dispersion : float
        Variance of counts over that of independent rows, >= 1: of rows that depend on each other
        (many of one user) so many weigh as one.
    """
    now, before = check.now, check.before
    if before is None:
        if not now.rows:
            return None
        interval = wilson(now.hits, now.rows)
        is_breach = interval.low > check.level
        return Finding(check, interval, None, is_breach, not is_breach)
    if min(now.rows, before.rows) < limits.min_samples:
        return None
    rise = now.value - before.value
    thin = (*before.thinned(dispersion), *now.thinned(dispersion))
    chance = hypergeometric_tail(*thin)
    return Finding(
        check,
        newcombe(*thin),
        chance,
        rise >= check.level and chance < limits.alpha,
        rise < check.level / 2.0,
    )


def leading(findings: Sequence[Finding]) -> Finding:
    """Return the finding that speaks for a feature: breaches first, contracts before rates."""
    return max(findings, key=lambda f: (f.is_breach, f.chance is None and f.is_breach, f.effect))


def sentence(feature: str, finding: Finding) -> str:
    """Return what a finding says, for people."""
    check = finding.check
    now = f"{check.now.hits:,} of {check.now.rows:,} rows ({check.now.value:.2%})"
    if check.before is None:
        more = f", more than the {check.level:.2%} tolerated" if check.level else ""
        told = f"{check.words}: {now}{more}"
    else:
        told = f"{check.words}: {now}, {check.before.value:.2%} in the baseline"
    return f"`{feature}` has {told}"
