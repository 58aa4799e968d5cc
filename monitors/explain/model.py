"""What `monitor drift` says: the state of every stream, and explanations of what drifted.

Version 1. Fields are only added; anything else raises the version. Times are microseconds since
the epoch, UTC, durations seconds, shares 0..1; intervals are at 95 %; None is unknown, 0 is zero.
"""

from typing import Literal

import msgspec

from monitors.report.parts import Bin, Interval, Severity, Verdict
from stats.results import Measurement

DRIFT_VERSION = 1


class StreamState(msgspec.Struct, frozen=True):
    """Where one stream stands: its newest verdict of the interval, and its detector.

    Attributes
    ----------
    segment : str
        `key=value`; empty is all rows of the route.
    verdict : str
        `watched` where only a detector follows the stream, which has found nothing.
    value, low, high : float or None
        What `statistic` names, with its interval.
    evidence, evidence_at : float or None
        Logarithm of the detector's statistic, and of the level at which it alarms.
    evidence_share : float or None
        The one over the other, not below 0; from 1 on there is evidence.
    onset_at, opened_at : int or None
        When the change began, as estimated, and was found; None where nothing is open.
    monitors : tuple of str
        What else looks at the feature: `quality`, `slo`.
    """

    route: str
    segment: str
    feature: str
    verdict: Verdict | Literal["watched"]
    severity: Severity
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    n_reference: int
    n_current: int
    window: Interval | None
    baseline: str
    at: int
    evidence: float | None
    evidence_at: float | None
    evidence_share: float | None
    evidence_source: str
    onset_at: int | None
    opened_at: int | None
    cause: str
    monitors: tuple[str, ...]


class DriftState(msgspec.Struct, frozen=True):
    """The state of every stream."""

    version: int
    generated_at: int
    interval: Interval
    streams: tuple[StreamState, ...]
    notes: tuple[str, ...] = ()


class Effect(msgspec.Struct, frozen=True):
    """One distance between then and now, with its interval."""

    name: str
    value: float
    low: float
    high: float


class Mover(msgspec.Struct, frozen=True):
    """A bin or category that moved.

    Attributes
    ----------
    reference, current, change : float
        Shares of the rows then and now, and their difference, each with its interval.
    psi_share : float
        Part of the PSI over all cells that it makes.
    """

    cell: str
    reference: float
    reference_low: float
    reference_high: float
    current: float
    current_low: float
    current_high: float
    change: float
    change_low: float
    change_high: float
    psi_share: float


class Onset(msgspec.Struct, frozen=True):
    """Since when: an estimate with its range, never a fact.

    Attributes
    ----------
    at, first_at, last_at : int or None
        Start of the 5-minute slot from which on rows follow another law, and of the first and the
        last slot of its 95 % range; None where the scan found no such moment.
    before : bool
        The change lies before the interval: `at` is its start.
    detector_at : int or None
        What the running detector estimated when it alarmed.
    """

    at: int | None
    first_at: int | None
    last_at: int | None
    before: bool
    detector_at: int | None


class Cause(msgspec.Struct, frozen=True):
    """One thing that may have caused a change, the likeliest first.

    Attributes
    ----------
    kind : str
        `schema` (comes as another type); `missing`, `new_category`, `category`, `unit`, `median`,
        `shape`; `within`, `mix`; `rollout`; `traffic` (what else changed in the hour of the onset).
    """

    kind: str
    text: str


class SegmentPart(msgspec.Struct, frozen=True):
    """What one segment adds to the change of all rows.

    Attributes
    ----------
    weight_reference, weight : float
        Share of all rows then and now.
    within, low, high : float
        Share points (total variation) that its own change adds, with an interval.
    mix : float
        The same for its changed share of the rows.
    moved : float
        Total variation between its own rows then and now.
    """

    segment: str
    n_reference: int
    n_current: int
    weight_reference: float
    weight: float
    within: float
    low: float
    high: float
    mix: float
    moved: float


class KeySplit(msgspec.Struct, frozen=True):
    """The change of all rows over the values of one key: `total` = `within` + `mix`."""

    key: str
    total: float
    within: float
    mix: float
    parts: tuple[SegmentPart, ...]


class Carrier(msgspec.Struct, frozen=True):
    """What carries most of the change: a segment by itself, or the mix of a key's values.

    Attributes
    ----------
    share : float
        Of the whole change.
    weight_reference, weight : float
        Share of all rows that the segment had then and has now.
    """

    kind: Literal["within", "mix"]
    segment: str
    share: float
    weight_reference: float
    weight: float


class Related(msgspec.Struct, frozen=True):
    """Another monitor's finding that began within an hour of the onset."""

    monitor: str
    feature: str
    segment: str
    verdict: Verdict
    severity: Severity
    began_at: int
    cause: str


class ExactTest(msgspec.Struct, frozen=True):
    """A statistic over single rows; `p_value` of one look where the statistic has a law."""

    name: str
    value: float
    low: float | None
    high: float | None
    p_value: float | None
    n_reference: int
    n_current: int

    @classmethod
    def of(cls, name: str, found: Measurement, p_value: float | None) -> "ExactTest":
        """Return what was measured, with the p-value of its law."""
        return cls(
            name=name,
            value=found.value,
            low=found.interval.low,
            high=found.interval.high,
            p_value=p_value,
            n_reference=found.n_reference,
            n_current=found.n_current,
        )


class Deep(msgspec.Struct, frozen=True):
    """What single rows say: at most `most_rows` of each window, the newest.

    Attributes
    ----------
    tests : tuple of ExactTest
        Of the feature alone; empty for categories.
    classifier : ExactTest or None
        Area under the ROC curve of telling the windows apart by all features of the route: 0.5 is
        chance.
    carries : tuple of (str, float)
        Area that each feature's part of it has alone, largest first.
    """

    most_rows: int
    tests: tuple[ExactTest, ...]
    classifier: ExactTest | None
    carries: tuple[tuple[str, float], ...]
    note: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """What changed in one feature of a route.

    Attributes
    ----------
    then, now : Interval
        The baseline's window, and the rows since the onset within the interval.
    carriers, splits : tuple
        Over all rows; of a segment its own key is split over all rows of the route, the other keys
        over its own rows.
    examples : tuple of str
        Predictions from the cells that grew most, newest first; `monitor logs ID` opens one.
    cause : str
        The likeliest cause in a sentence part.
    """

    route: str
    segment: str
    feature: str
    kind: Literal["numeric", "categorical"]
    verdict: str
    severity: Severity
    baseline: str
    then: Interval
    now: Interval
    n_reference: int
    n_current: int
    dispersion: float
    effects: tuple[Effect, ...]
    onset: Onset
    movers: tuple[Mover, ...]
    histogram: tuple[Bin, ...]
    carriers: tuple[Carrier, ...]
    splits: tuple[KeySplit, ...]
    examples: tuple[str, ...]
    cause: str
    causes: tuple[Cause, ...]
    related: tuple[Related, ...]
    deep: Deep | None = None
    notes: tuple[str, ...] = ()


class DriftExplained(msgspec.Struct, frozen=True):
    """Explanations of what drifted, or of the feature that was asked for.

    Attributes
    ----------
    compared : int
        Streams of the interval with enough rows for a figure, drifting or not.
    """

    version: int
    generated_at: int
    interval: Interval
    explanations: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()
    compared: int = 0
