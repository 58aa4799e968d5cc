"""The one budget of false alarms: what each part, each stream and each look may spend of it.

`false_alarms_per_30d` is the expected number for a route, all monitors, features, segments and
looks together. Drift has `budget.DRIFT` of it. Of that a tenth goes to the fixed-window test, at a
Bonferroni level, so that a large shift is seen at once; the rest goes to sequential detectors,
which see slow creep. A detector whose alarm level is A has at least A looks on average between
false alarms, so that a level of looks x streams / budget keeps the sum over streams, whatever
their dependence.
"""

import math
from dataclasses import dataclass

import msgspec

from monitors.budget import DRIFT
from monitors.options import MonitorOptions

WINDOW_SHARE = 0.1
"""Part of drift's budget for the fixed-window test."""
DAYS_30_S = 30 * 86_400.0
MOST_ALPHA = 0.05
"""What a look at a feature may spend however large the budget is."""
LEAST_LEVEL = 20.0
"""The same for a detector: it never alarms more often than every twenty looks on average."""


def looks_per_30d(every_s: float) -> float:
    """Return how many looks of a route there are in 30 days, at least one."""
    return max(1.0, DAYS_30_S / every_s)


@dataclass(frozen=True, slots=True)
class Budget:
    """What drift of one route may spend.

    Attributes
    ----------
    false_alarms_per_30d : float
        Drift's part of the configured number.
    looks : float
        Looks in 30 days.
    features, segments : int
        Streams over all rows; streams of segments.
    """

    false_alarms_per_30d: float
    looks: float
    features: int
    segments: int = 0

    @classmethod
    def of(cls, config: MonitorOptions, features: int, segments: int = 0) -> "Budget":
        """Share the configured number."""
        return cls(
            config.false_alarms_per_30d * DRIFT,
            looks_per_30d(config.every),
            features,
            segments,
        )

    @property
    def window_alpha(self) -> float:
        """Chance that the fixed-window test of one look at one feature may spend."""
        spent = self.false_alarms_per_30d * WINDOW_SHARE
        return min(MOST_ALPHA, spent / (self.looks * max(1, self.features)))

    def alarm_at(self, segment: str = "") -> float:
        """Return the alarm level of a stream: the mean number of looks to a false alarm.

        Streams over all rows share one half, those of segments the other; without segments the
        former have both.
        """
        streams = self.segments if segment else self.features
        spent = self.false_alarms_per_30d * (1.0 - WINDOW_SHARE)
        if self.segments:
            spent /= 2.0
        return max(LEAST_LEVEL, self.looks * max(1, streams) / spent)


class Alarm(msgspec.Struct, frozen=True):
    """Evidence that is latched: what a detector found when it reached its level.

    Attributes
    ----------
    at : int
        Microseconds since the epoch of the look.
    onset_at : int
        When the change began, as the detector estimates it.
    log_evidence : float
        Log of the detector's statistic then.
    leading : str
        What changed: `location`, `spread`, `skew`, `shape` or `rate`.
    rising : bool
        Direction: larger values, wider spread, a higher rate.
    cell : str
        Name of the cell whose rate it is; empty for what is no rate.
    """

    at: int
    onset_at: int
    log_evidence: float
    leading: str
    rising: bool
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the detector of one stream stands at a look.

    Attributes
    ----------
    segment : str
        `key=value`; empty is all rows of the route.
    log_evidence : float or None
        Log of its statistic; None before its first rows.
    alarm : Alarm or None
        What it is latched on.
    """

    budget: Budget
    segment: str = ""
    log_evidence: float | None = None
    alarm: Alarm | None = None

    @property
    def alarm_at(self) -> float:
        """Level of its statistic."""
        return self.budget.alarm_at(self.segment)

    def details(self) -> dict[str, object]:
        """Return what a verdict says of it, JSON-safe."""
        found: dict[str, object] = {
            "budget": self.budget.false_alarms_per_30d,
            "streams": self.budget.features + self.budget.segments,
            "alarm_at": self.alarm_at,
            "log_alarm_at": math.log(self.alarm_at),
        }
        if self.log_evidence is not None:
            found["log_evidence"] = self.log_evidence
        if self.alarm is not None:
            alarm = self.alarm
            found |= {
                "log_evidence": alarm.log_evidence,
                "alarm_time": alarm.at,
                "onset_at": alarm.onset_at,
                "leading": alarm.leading,
                "rising": alarm.rising,
                "leading_cell": alarm.cell,
            }
        return found
