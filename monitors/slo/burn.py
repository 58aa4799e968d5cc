"""Burn rates of an error budget: when they are an emergency, and when it is over.

A burn rate of 1 spends the budget of 30 days in 30 days. Two windows must burn at once: the long
one shows that it matters, the short one that it still goes on. The long window's rate must also
lie above its level beyond chance (exact binomial tail), so that one failure of three is no page.

Source: Google, The Site Reliability Workbook (2018), chapter 5, "Alerting on SLOs", table 5-8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stats.confidence import wilson
from stats.results import Interval
from stats.tails import binomial_tail

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
BUDGET_S = 30 * DAY_S
CHANCE = 1e-3
"""Of so many failures by luck at exactly the level's rate; at half of it it is far smaller."""
MOST = 0.5
"""Share of bad requests that is an emergency whatever the objective: 14.4 x 0.1 is out of reach."""

Severity = Literal["none", "warning", "critical"]


class Rule(NamedTuple):
    """Two windows that burn at `factor` or more at once."""

    long_s: int
    short_s: int
    factor: float
    severity: Literal["warning", "critical"]


RULES = (
    Rule(HOUR_S, 5 * MINUTE_S, 14.4, "critical"),
    Rule(6 * HOUR_S, 30 * MINUTE_S, 6.0, "critical"),
    Rule(3 * DAY_S, 6 * HOUR_S, 1.0, "warning"),
)
WINDOWS_S = tuple(sorted({s for rule in RULES for s in (rule.long_s, rule.short_s)}))
"""Every window that a rule looks at, shortest first."""
QUIET_S = RULES[-1].short_s
"""For so long after a page the slow rule is silent: its short window still holds the outage."""


class Tally(NamedTuple):
    """Requests of a window that count, and the bad ones among them."""

    n: int
    bad: int

    def __add__(self, other: object) -> "Tally":
        assert isinstance(other, Tally)
        return Tally(self.n + other.n, self.bad + other.bad)

    def burn(self, budget: float) -> float:
        """Return the burn rate; 0 without requests."""
        return self.bad / self.n / budget if self.n else 0.0


Tallies = Mapping[int, Tally]
"""Window in seconds to what it holds."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where an objective stands in its episode.

    Attributes
    ----------
    page_at : int
        Microseconds since the epoch when a critical rule last burned; 0 is never.
    """

    open: bool = False
    calm_looks: int = 0
    severity: Severity = "none"
    page_at: int = 0


@dataclass(frozen=True, slots=True)
class Burn:
    """What one look at one objective found.

    Attributes
    ----------
    rule : Rule
        The fastest one that fires, else the one whose long window burns most, over its factor.
    value : float
        That window's burn rate.
    interval : Interval
        95 % interval of `value`.
    budget_left : float
        Share of the budget of 30 days that is left; negative when it is overspent.
    silent : bool
        The windows that an episode must see calm have too few requests to say anything.
    """

    rule: Rule
    value: float
    interval: Interval
    tally: Tally
    budget_left: float
    silent: bool
    enough: bool
    memory: Memory


def judge(
    tallies: Tallies, objective: float, was: Memory, *, at_us: int, limits: tuple[int, int]
) -> Burn:
    """Return where an objective stands after a look.

    Parameters
    ----------
    tallies : mapping of int to Tally
        By every one of `WINDOWS_S`, and `BUDGET_S`.
    objective : float
        Share that is to be good, in (0, 1).
    limits : tuple of int
        Least requests of a long window, and calm looks in a row that end an episode.
    """
    min_samples, clear_after = limits
    budget = 1.0 - objective
    firing = [rule for rule in RULES if _burns(rule, tallies, budget, min_samples)]
    pages = any(rule.severity == "critical" for rule in firing)
    page_at = at_us if pages else was.page_at
    if not pages and _is_quiet(at_us, page_at):
        firing = []
    most = max(RULES, key=lambda rule: tallies[rule.long_s].burn(budget) / rule.factor)
    lead = firing[0] if firing else most
    tally = tallies[lead.long_s]
    found = Interval(0.0, 1.0 / budget)
    if tally.n:
        shares = wilson(tally.bad, tally.n)
        found = Interval(shares.low / budget, shares.high / budget)
    to_end = _to_end(was, at_us, page_at)
    silent = all(tallies[rule.long_s].n < min_samples for rule in to_end)
    calm = silent or all(_is_calm(rule, tallies, budget) for rule in to_end)
    return Burn(
        rule=lead,
        value=tally.burn(budget),
        interval=found,
        tally=tally,
        silent=silent,
        budget_left=1.0 - tallies[BUDGET_S].burn(budget),
        enough=tallies[RULES[-1].long_s].n >= min_samples,
        memory=_step(was, firing, page_at, calm=calm, clear_after=clear_after),
    )


def _burns(rule: Rule, tallies: Tallies, budget: float, min_samples: int) -> bool:
    long, short = tallies[rule.long_s], tallies[rule.short_s]
    level = min(rule.factor * budget, MOST)
    if long.n < min_samples or not short.n or short.bad < level * short.n:
        return False
    return long.bad > level * long.n and binomial_tail(long.bad, long.n, level) < CHANCE


def _is_quiet(at_us: int, page_at: int) -> bool:
    """Say whether a page is so young that the slow rule is silent; one to come never was."""
    return 0 <= at_us - page_at < QUIET_S * 1_000_000


def _to_end(was: Memory, at_us: int, page_at: int) -> Sequence[Rule]:
    """Return the rules that must be calm before an episode ends."""
    critical = was.severity == "critical" or _is_quiet(at_us, page_at)
    return [rule for rule in RULES if rule.severity == "critical"] if critical else RULES


def _is_calm(rule: Rule, tallies: Tallies, budget: float) -> bool:
    """Say whether either window burns at less than half the level; silence is no recovery."""
    half = min(rule.factor * budget, MOST) / 2.0
    long, short = tallies[rule.long_s], tallies[rule.short_s]
    return long.bad <= half * long.n or (short.n > 0 and short.bad < half * short.n)


def _step(
    was: Memory, firing: Sequence[Rule], page_at: int, *, calm: bool, clear_after: int
) -> Memory:
    if firing:
        severities = {was.severity, *(rule.severity for rule in firing)}
        worse: Severity = "critical" if "critical" in severities else "warning"
        return Memory(open=True, severity=worse, page_at=page_at)
    if not was.open:
        return Memory(page_at=page_at)
    looks = was.calm_looks + 1 if calm else 0
    if looks >= clear_after:
        return Memory(page_at=page_at)
    return Memory(open=True, calm_looks=looks, severity=was.severity, page_at=page_at)
