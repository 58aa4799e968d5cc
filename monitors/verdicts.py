"""From measurements to verdicts: two gates, severity from the effect, hysteresis.

A look says `drift` when both gates open:

* *evidence*: the stream's sequential detector has reached its level, and is latched since; or,
  for what is large at once, a fixed-window test (likelihood ratio over the cells; for numbers
  also Kolmogorov-Smirnov, half the level each) rejects at its part of the budget
  (`monitors.evidence`). Looks may overlap and features depend on each other: the expected number
  of false alarms stays below the budget;
* *material effect*: Wasserstein-1 in standard deviations, the lower end of PSI's interval, or the
  change of a share reaches the configured level. With a detector's evidence the effect is taken
  from the estimated onset on, with the test's over the look's own window.

What a look must remember of the looks before stands in its verdict's `details` (`open`,
`latched`, `calm_looks`, `opened_at`, `onset_at`), so that a restart forgets nothing.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from monitors.cause import likely_cause
from monitors.drift import Comparison, TooFew
from monitors.endings import verdict_id
from monitors.evidence import Evidence
from monitors.measured import contributions, measurements, psi_noise
from monitors.memory import Memory, Severity
from monitors.options import MonitorOptions
from monitors.silence import SEEN_AT, Patience, seen_at
from monitors.windows import Window
from stats.confidence import Z, newcombe, wilson
from stats.results import Psi, RateChange
from storage.records import Verdict

MONITOR = "drift"
CRITICAL_RATIO = 2.5
"""A critical PSI is at least so many times the material one."""
SUSPICION = 0.01
"""P-value of a single look above which a small window shows no trace of drift."""
WASSERSTEIN_NOISE = 1.25
"""Average distance of equal windows, in standard errors."""
WASSERSTEIN_REACH = WASSERSTEIN_NOISE + Z
"""Upper end, in standard errors, of the interval around an average distance of equal windows."""
REACH_MARGIN = 1.5
"""Room for luck: windows whose intervals would only just fit take many looks to clear."""

Found = Comparison | TooFew


@dataclass(frozen=True, slots=True)
class Levels:
    """Effects of one feature from which drift is material, and critical."""

    psi: float
    wasserstein_sd: float
    critical_psi: float
    share: float = 0.01
    new_share: float = 0.002


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

    @property
    def patience(self) -> Patience:
        """How long an open episode waits for rows."""
        return Patience(self.clear_after, self.window.length_s)


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream at a look, beside what the look's own window shows.

    Attributes
    ----------
    effect : Comparison, TooFew or None
        Over `window`; None where that is the look's own.
    window : Window or None
        From the estimated onset on; of an open episode as long as it took to find it, but not
        shorter than the look's own.
    """

    evidence: Evidence
    effect: Found | None = None
    window: Window | None = None


def levels_for(config: MonitorOptions, feature: str) -> Levels:
    """Return a feature's levels; its own `psi` raises the critical one to stay above it."""
    general = config.material
    own = config.features.get(feature)
    psi = general.psi if own is None or own.psi is None else own.psi
    moved = own.wasserstein_sd if own is not None else None
    return Levels(
        psi=psi,
        wasserstein_sd=general.wasserstein_sd if moved is None else moved,
        critical_psi=max(general.critical_psi, CRITICAL_RATIO * psi),
        share=general.share,
        new_share=general.new_share,
    )


def has_evidence(comparison: Comparison) -> bool:
    """Say whether a fixed-window test rejects at the level that the look may spend."""
    rejects = comparison.likelihood > comparison.threshold
    return rejects or (comparison.ks_p is not None and comparison.ks_p < comparison.alpha / 2.0)


def far_from(comparison: Comparison, levels: Levels) -> float:
    """Return the Wasserstein distance in sd from which a number has moved as far as the level.

    Equal windows of these sizes are `WASSERSTEIN_NOISE` standard errors apart on average, which
    adds in squares to what has moved. Infinite where there is no distance.
    """
    moved = comparison.wasserstein_sd
    if moved is None:
        return math.inf
    rows = comparison.dispersion * (1.0 / moved.n_reference + 1.0 / moved.n_current)
    return math.hypot(levels.wasserstein_sd, WASSERSTEIN_NOISE * math.sqrt(rows))


def severity_of(
    comparison: Comparison, levels: Levels, *, moved_sd: float | None = None
) -> Severity:
    """Return the severity of the effect alone; `none` is not material.

    Parameters
    ----------
    moved_sd : float or None
        In place of the Wasserstein distance that was measured.
    """
    psi = comparison.psi
    if psi.value - psi_noise(comparison) >= levels.critical_psi:
        return "critical"
    moved = comparison.wasserstein_sd
    if moved_sd is None:
        # As of shares: what may be nothing, of a reference of few rows, has not moved.
        moved_sd = 0.0 if moved is None or moved.interval.low <= 0.0 else moved.value
    material = (
        moved_sd >= far_from(comparison, levels)
        or psi.interval.low > levels.psi
        or _share_moved(comparison, levels)
    )
    return "warning" if material else "none"


def _share_moved(comparison: Comparison, levels: Levels) -> bool:
    new = comparison.new
    if new is not None and new.value >= levels.new_share:
        return True
    return any(
        abs(change.value) >= levels.share and change.interval.low * change.interval.high > 0.0
        for change in _changes(comparison)
    )


def _changes(comparison: Comparison) -> list[RateChange]:
    share = comparison.share
    return [comparison.missing] if share is None else [comparison.missing, share.change]


def is_calm(comparison: Comparison, levels: Levels) -> bool:
    """Say whether a look counts towards the end of an episode.

    The effects' intervals must lie below half the material level. Windows may be too small for
    that though nothing drifts (at a level of 0.1 sd, below some 9,000 rows in either); they are
    calm if they show no trace of drift, which an effect that passed the gates would leave.
    """
    ends = _ends(comparison, levels)
    if all(high < level / 2.0 for high, _, level in ends):
        return True
    if any(high >= level / 2.0 > REACH_MARGIN * reach for high, reach, level in ends):
        return False
    return all(p is None or p > SUSPICION for p in (comparison.likelihood_p, comparison.ks_p))


def _ends(comparison: Comparison, levels: Levels) -> list[tuple[float, float, float]]:
    """Return upper end of the interval, the same of equal windows, and level, of each effect."""
    psi, moved, by = comparison.psi, comparison.wasserstein_sd, comparison.dispersion
    ends = [(psi.interval.high, by * _psi_reach(psi), levels.psi)]
    if moved is not None:
        rows = by * (1.0 / moved.n_reference + 1.0 / moved.n_current)
        ends.append(
            (moved.interval.high, WASSERSTEIN_REACH * math.sqrt(rows), levels.wasserstein_sd)
        )
    for change in _changes(comparison):
        high = max(-change.interval.low, change.interval.high)
        ends.append((high, math.sqrt(by) * _share_reach(change), levels.share))
    if comparison.new is not None:
        reach = by * wilson(0, comparison.new.n_current).high
        ends.append((comparison.new.interval.high, reach, levels.new_share))
    return ends


def _psi_reach(psi: Psi) -> float:
    """Upper end of the interval around an average PSI of equal windows.

    The noncentrality L with mean - 1.96 sd of its chi-square law at the law's mean without drift.
    """
    square = Z * Z
    upper = 2.0 * square + math.sqrt(4.0 * square * square + 2.0 * square * (psi.cells - 1))
    return upper * (1.0 / psi.n_reference + 1.0 / psi.n_current)


def _share_reach(change: RateChange) -> float:
    """Upper end of the interval around no change of a share."""
    m, n, rate = change.n_reference, change.n_current, change.reference_rate
    same = newcombe(round(rate * m), m, round(rate * n), n)
    return max(-same.low, same.high)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a look shows of a stream: both gates' answers."""

    shown: Found
    window: Window
    source: Literal["detector", "window", ""]
    severity: Severity

    @property
    def drifted(self) -> bool:
        return bool(self.source) and self.severity != "none"


def _decide(found: Found, levels: Levels, look: Look, stream: StreamView | None) -> _Decided:
    own = _seen(found, look.window, levels)
    if isinstance(found, Comparison) and has_evidence(found):
        own = replace(own, source="window")
    if own.drifted or stream is None:
        return own
    alarmed = stream.evidence.alarm is not None
    seen = [own]
    if stream.window is not None and isinstance(stream.effect, Comparison):
        effect = _seen(stream.effect, stream.window, levels)
        # The onset is an estimate: a longer window counts as well; a shorter one is only noisier.
        seen = [effect, own] if stream.window.from_us > look.window.from_us else [effect]
    if alarmed:
        seen = [replace(one, source="detector") for one in seen]
    return next((one for one in seen if one.drifted), seen[0])


def _seen(found: Found, window: Window, levels: Levels) -> _Decided:
    severity = severity_of(found, levels) if isinstance(found, Comparison) else "none"
    return _Decided(found, window, "", severity)


def judge(
    found: Found,
    levels: Levels,
    look: Look,
    previous: Verdict | None,
    stream: StreamView | None = None,
) -> Verdict:
    """Return the verdict of one look at one stream.

    Parameters
    ----------
    found : Comparison or TooFew
        What the look's own window shows.
    previous : Verdict or None
        The same stream's verdict of the look before; one on another baseline counts for nothing.
    stream : StreamView or None
        What its detector says; None is the fixed-window test alone.
    """
    was = Memory.of(previous, look.baseline)
    decided = _decide(found, levels, look, stream)
    shown = decided.shown
    if isinstance(shown, TooFew):
        return _blind(shown, look, previous, stream)
    now = _step(was, decided, levels, look, stream)
    psi = shown.psi
    return msgspec.structs.replace(
        _unsaid(shown, look, decided.window, stream),
        verdict="drift" if now.open else "ok",
        severity=now.severity,
        value=psi.value,
        low=psi.interval.low,
        high=psi.interval.high,
        threshold=shown.threshold if math.isfinite(shown.threshold) else None,
        details={
            **_remembered(now, stream),
            "evidence": bool(decided.source),
            "evidence_source": decided.source,
            "material": decided.severity != "none",
            **dict(measurements(shown)),
            "cause": likely_cause(shown),
            "contributions": contributions(shown),
        },
    )


def _unsaid(found: Found, look: Look, window: Window, stream: StreamView | None) -> Verdict:
    """Return a verdict on what was found, without its word and without numbers."""
    segment = "" if stream is None else stream.evidence.segment
    return Verdict(
        id=verdict_id(MONITOR, look.route, (segment, found.feature), look.window.to_us),
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
        window_from=window.from_us,
        window_to=window.to_us,
        baseline=look.baseline,
        details={},
        segment=segment,
    )


def _remembered(now: Memory, stream: StreamView | None) -> dict[str, object]:
    found = {} if stream is None else stream.evidence.details()
    found |= {"open": now.open, "latched": now.latched, "calm_looks": now.calm_looks}
    if now.open:
        found |= {"opened_at": now.opened_at, "onset_at": now.onset_at}
    return {**found, **now.facts} | ({"shared": True} if now.shared else {})


def _step(
    was: Memory, decided: _Decided, levels: Levels, look: Look, stream: StreamView | None
) -> Memory:
    alarm = None if stream is None else stream.evidence.alarm
    latched = alarm is not None
    if decided.drifted:
        severity = decided.severity
        started = decided.window.from_us if alarm is None else alarm.onset_at
        return Memory(
            open=True,
            latched=latched,
            severity="critical" if "critical" in {was.severity, severity} else severity,
            opened_at=was.opened_at or look.at,
            onset_at=was.onset_at or started,
            shared=was.shared,
            facts=was.facts,
        )
    if not (was.open or latched) or isinstance(decided.shown, TooFew):
        return Memory(shared=was.shared)
    calm_looks = was.calm_looks + 1 if is_calm(decided.shown, levels) else 0
    if calm_looks >= look.clear_after:
        return Memory(shared=was.shared)
    return Memory(
        open=was.open,
        latched=latched,
        calm_looks=calm_looks,
        severity=was.severity,
        opened_at=was.opened_at,
        onset_at=was.onset_at,
        shared=was.shared,
        facts=was.facts,
    )


def _blind(
    found: TooFew, look: Look, previous: Verdict | None, stream: StreamView | None
) -> Verdict:
    """Return a verdict that says nothing new: an open episode stays open, nothing clears it."""
    was = Memory.of(previous, look.baseline)
    latched = stream is not None and stream.evidence.alarm is not None
    return msgspec.structs.replace(
        _unsaid(found, look, look.window, stream),
        details={
            **_remembered(replace(was, latched=latched), stream),
            "severity": was.severity,
            "needed": found.needed,
            **({} if previous is None else {SEEN_AT: seen_at(previous, look.at, look.patience)}),
        },
    )
