"""From measurements to verdicts: two gates, severity from the effect, hysteresis.

A look says `drift` when both gates open:

* *evidence*: a fixed-window test (likelihood ratio over the cells; for numbers also
  Kolmogorov-Smirnov, half the level each) at a level that shares the budget of false alarms over
  all features and all looks of 30 days (Bonferroni). Looks may overlap and features depend on
  each other: the expected number of false alarms stays below the budget;
* *material effect*: PSI, less what equal windows of that size show, or Wasserstein-1 in standard
  deviations, reaches the configured level.

What a look must remember of the looks before stands in its verdict's `details` (`open`,
`calm_looks`), so that a restart forgets nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from monitors.drift import Comparison, TooFew, likely_cause
from monitors.options import MonitorOptions
from monitors.windows import Window
from stats.confidence import Z
from stats.results import Psi
from storage.records import Verdict

MONITOR = "drift"
DAYS_30_S = 30 * 86_400.0
MOST_ALPHA = 0.05
"""What a look at a feature may spend however large the budget is."""
SUSPICION = 0.01
"""P-value of a single look above which a small window shows no trace of drift."""
WASSERSTEIN_REACH = 1.25 + Z
"""Upper end, in standard errors, of the interval around an average distance of equal windows."""
REACH_MARGIN = 1.5
"""Room for luck: windows whose intervals would only just fit take many looks to clear."""

Severity = Literal["none", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Levels:
    """Effects of one feature from which drift is material, and critical."""

    psi: float
    wasserstein_sd: float
    critical_psi: float


@dataclass(frozen=True, slots=True)
class Look:
    """What is the same for all features of one look at a route.

    Attributes
    ----------
    at : int
        Microseconds since the epoch.
    baseline : str
        `name@version`.
    clear_after : int
        Calm looks in a row that end an episode.
    """

    at: int
    route: str
    window: Window
    baseline: str
    clear_after: int


def per_look_alpha(false_alarms_per_30d: float, every_s: float, features: int) -> float:
    """Return the chance of a false alarm that one look at one feature may spend.

    Parameters
    ----------
    false_alarms_per_30d : float
        Budget of a route: expected number, all features and looks together.
    every_s : float
        Seconds between looks.
    features : int
        Features that are watched, at least 1.

    Returns
    -------
    float
        At most 0.05: a budget that allows more buys no meaning.

    Examples
    --------
    >>> per_look_alpha(1.0, 300.0, 10) == 1 / 86_400
    True
    """
    looks = max(1.0, DAYS_30_S / every_s)
    return min(MOST_ALPHA, false_alarms_per_30d / (looks * max(1, features)))


def levels_for(config: MonitorOptions, feature: str) -> Levels:
    """Return a feature's levels; its own `psi` moves the critical one in proportion."""
    general = config.material
    own = config.features.get(feature)
    psi = general.psi if own is None or own.psi is None else own.psi
    moved = own.wasserstein_sd if own is not None else None
    return Levels(
        psi=psi,
        wasserstein_sd=general.wasserstein_sd if moved is None else moved,
        critical_psi=general.critical_psi * psi / general.psi,
    )


def psi_noise(comparison: Comparison) -> float:
    """PSI that equal windows of these sizes show on average."""
    psi = comparison.psi
    return (psi.cells - 1) * (1.0 / psi.n_reference + 1.0 / psi.n_current)


def has_evidence(comparison: Comparison) -> bool:
    """Say whether a test rejects at the level that the look may spend."""
    rejects = comparison.likelihood > comparison.threshold
    return rejects or (comparison.ks_p is not None and comparison.ks_p < comparison.alpha / 2.0)


def severity_of(
    comparison: Comparison, levels: Levels, *, moved_sd: float | None = None
) -> Severity:
    """Return the severity of the effect alone; `none` is not material.

    Parameters
    ----------
    moved_sd : float or None
        In place of the Wasserstein distance that was measured.
    """
    effect = comparison.psi.value - psi_noise(comparison)
    if effect >= levels.critical_psi:
        return "critical"
    moved = comparison.wasserstein_sd
    if moved_sd is None:
        moved_sd = 0.0 if moved is None else moved.value
    far = moved is not None and moved_sd >= levels.wasserstein_sd
    return "warning" if far or effect >= levels.psi else "none"


def is_calm(comparison: Comparison, levels: Levels) -> bool:
    """Say whether a look counts towards the end of an episode.

    The effects' intervals must lie below half the material level. Windows may be too small for
    that though nothing drifts (at a level of 0.1 sd, below some 9,000 rows in either); they are
    calm if they show no trace of drift, which an effect that passed the gates would leave.
    """
    psi, moved = comparison.psi, comparison.wasserstein_sd
    ends = [(psi.interval.high, _psi_reach(psi), levels.psi)]
    if moved is not None:
        reach = WASSERSTEIN_REACH * math.sqrt(1.0 / moved.n_reference + 1.0 / moved.n_current)
        ends.append((moved.interval.high, reach, levels.wasserstein_sd))
    if all(high < level / 2.0 for high, _, level in ends):
        return True
    too_small = any(REACH_MARGIN * reach >= level / 2.0 for _, reach, level in ends)
    return too_small and all(
        p is None or p > SUSPICION for p in (comparison.likelihood_p, comparison.ks_p)
    )


def _psi_reach(psi: Psi) -> float:
    """Upper end of the interval around an average PSI of equal windows.

    The noncentrality L with mean - 1.96 sd of its chi-square law at the law's mean without drift.
    """
    square = Z * Z
    upper = 2.0 * square + math.sqrt(4.0 * square * square + 2.0 * square * (psi.cells - 1))
    return upper * (1.0 / psi.n_reference + 1.0 / psi.n_current)


def judge(
    comparison: Comparison | TooFew, levels: Levels, look: Look, previous: Verdict | None
) -> Verdict:
    """Return the verdict of one look at one feature.

    Parameters
    ----------
    previous : Verdict or None
        The same feature's verdict of the look before; one on another baseline counts for nothing.
    """
    was = _Memory.of(previous, look)
    if isinstance(comparison, TooFew):
        return _blind(comparison, look, was)
    evidence = has_evidence(comparison)
    severity = severity_of(comparison, levels)
    now = _step(was, evidence and severity != "none", severity, comparison, levels, look)
    psi = comparison.psi
    return Verdict(
        id=_id(look, comparison.feature),
        at=look.at,
        monitor=MONITOR,
        route=look.route,
        feature=comparison.feature,
        kind=comparison.kind,
        verdict="drift" if now.open else "ok",
        severity=now.severity,
        statistic="psi",
        value=psi.value,
        low=psi.interval.low,
        high=psi.interval.high,
        threshold=comparison.threshold if math.isfinite(comparison.threshold) else None,
        n_reference=comparison.n_reference,
        n_current=comparison.n_current,
        window_from=look.window.from_us,
        window_to=look.window.to_us,
        baseline=look.baseline,
        details={
            "open": now.open,
            "calm_looks": now.calm_looks,
            "evidence": evidence,
            "material": severity != "none",
            **dict(_measurements(comparison)),
            "cause": likely_cause(comparison),
            "contributions": [
                {
                    "cell": part.cell,
                    "share": part.share,
                    "reference": part.reference,
                    "current": part.current,
                }
                for part in comparison.contributions
            ],
        },
    )


@dataclass(frozen=True, slots=True)
class _Memory:
    """Where a feature stands in its episode."""

    open: bool = False
    calm_looks: int = 0
    severity: Severity = "none"

    @classmethod
    def of(cls, previous: Verdict | None, look: Look) -> "_Memory":
        if previous is None or previous.baseline != look.baseline:
            return cls()
        if previous.details.get("open") is not True:
            return cls()
        calm, severity = previous.details.get("calm_looks"), previous.details.get("severity")
        return cls(
            open=True,
            calm_looks=calm if isinstance(calm, int) else 0,
            severity="critical" if "critical" in {severity, previous.severity} else "warning",
        )


def _step(
    was: _Memory,
    drifted: bool,  # noqa: FBT001 - one of two gates' answers, never a literal
    severity: Severity,
    comparison: Comparison,
    levels: Levels,
    look: Look,
) -> _Memory:
    if drifted:
        worse = "critical" if "critical" in {was.severity, severity} else severity
        return _Memory(open=True, severity=worse)
    if not was.open:
        return _Memory()
    calm_looks = was.calm_looks + 1 if is_calm(comparison, levels) else 0
    if calm_looks >= look.clear_after:
        return _Memory()
    return _Memory(open=True, calm_looks=calm_looks, severity=was.severity)


def _blind(found: TooFew, look: Look, was: _Memory) -> Verdict:
    """Return a verdict that says nothing new: an open episode stays open, nothing clears it."""
    return Verdict(
        id=_id(look, found.feature),
        at=look.at,
        monitor=MONITOR,
        route=look.route,
        feature=found.feature,
        kind=found.kind,
        verdict="not_enough_data" if found.n_current else "stale",
        severity="none",
        statistic="psi",
        value=None,
        low=None,
        high=None,
        threshold=None,
        n_reference=found.n_reference,
        n_current=found.n_current,
        window_from=look.window.from_us,
        window_to=look.window.to_us,
        baseline=look.baseline,
        details={
            "open": was.open,
            "calm_looks": was.calm_looks,
            "severity": was.severity,
            "needed": found.needed,
        },
    )


def ended(last: Verdict, window: Window, why: str) -> Verdict:
    """Return the last verdict of what is compared no more, so that nothing of it stays open.

    Parameters
    ----------
    last : Verdict
        The feature's newest one.
    window : Window
        Its end is the time of the verdict.
    why : str
        Part of a sentence, for people; stands in `details["ended"]`.
    """
    return msgspec.structs.replace(
        last,
        id=f"{last.monitor}:{last.route}:{last.feature}:{window.to_us}",
        at=window.to_us,
        verdict="stale",
        severity="none",
        value=None,
        low=None,
        high=None,
        threshold=None,
        n_current=0,
        window_from=window.from_us,
        window_to=window.to_us,
        details={"open": False, "calm_looks": 0, "ended": why},
    )


def has_ended(verdict: Verdict) -> bool:
    """Say whether `ended` made a verdict."""
    return "ended" in verdict.details


def _measurements(comparison: Comparison) -> Iterator[tuple[str, float]]:
    yield "alpha", comparison.alpha
    yield "likelihood", comparison.likelihood
    yield "likelihood_p", comparison.likelihood_p
    yield "psi_noise", psi_noise(comparison)
    yield "js_distance", comparison.js_distance
    missing = comparison.missing
    yield "missing_rate", missing.current_rate
    yield "missing_rate_reference", missing.reference_rate
    yield "missing_change_low", missing.interval.low
    yield "missing_change_high", missing.interval.high
    if comparison.ks is not None and comparison.ks_p is not None:
        yield "ks", comparison.ks.value
        if comparison.ks.bounds.high > comparison.ks.value:
            yield "ks_most", comparison.ks.bounds.high
        yield "ks_p", comparison.ks_p
    moved = comparison.wasserstein_sd
    if moved is not None:
        yield "wasserstein_sd", moved.value
        yield "wasserstein_sd_low", moved.interval.low
        yield "wasserstein_sd_high", moved.interval.high
        if moved.bounds.high > moved.bounds.low:
            yield "wasserstein_sd_least", moved.bounds.low
            yield "wasserstein_sd_most", moved.bounds.high
    if comparison.medians is not None:
        yield "median_reference", comparison.medians[0]
        yield "median", comparison.medians[1]
    if comparison.chi2 is not None:
        yield "chi2_v", comparison.chi2.value
        yield "chi2_p", comparison.chi2.p_value
    if comparison.new is not None:
        yield "new_rate", comparison.new.value
        yield "new_rate_low", comparison.new.interval.low
        yield "new_rate_high", comparison.new.interval.high


def _id(look: Look, feature: str) -> str:
    # The same look at the same rows has the same id, so that a repeated run is seen as one.
    return f"{MONITOR}:{look.route}:{feature}:{look.window.to_us}"
