"""What the API says of baselines; light, since the command line reads it too."""

from typing import Any

import msgspec

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class BaselineSummary(msgspec.Struct, frozen=True):
    """A baseline without its cells; times are microseconds since the epoch.

    Attributes
    ----------
    source : dict
        Where its rows came from: `kind` is `period`, `automatic`, `previous`, `file` or `columns`;
        `variant` and `seasonal` stand beside it where they were asked for.
    """

    name: str
    version: int
    route: str
    rows: int
    window_from: int
    window_to: int
    created_at: int
    features: list[str]
    source: dict[str, Any] = {}


class FeatureSummary(msgspec.Struct, frozen=True):
    """What a feature looked like.

    Attributes
    ----------
    p05, p50, p95 : float or None
        Of the kept sample; None for categories.
    categories : dict of str to float
        Most frequent categories and their share of the rows; empty for numbers.
    segments : dict of str to int
        Rows of each segment that has a reference of its own, `key=value`.
    dispersion : float
        Variance of sums over looks, over that of independent rows; at least 1.
    """

    feature: str
    kind: str
    rows: int
    missing: int
    p05: float | None
    p50: float | None
    p95: float | None
    categories: dict[str, float]
    segments: dict[str, int] = {}
    dispersion: float = 1.0


class BaselineDetail(msgspec.Struct, frozen=True):
    """A baseline and its features."""

    baseline: BaselineSummary
    features: list[FeatureSummary]


class Refused(msgspec.Struct, frozen=True):
    """A route that got no baseline, and why."""

    route: str
    message: str


class BaselinesSet(msgspec.Struct, frozen=True):
    """What setting gave: at least one baseline."""

    baselines: list[BaselineSummary]
    refused: list[Refused]


class BuiltAdded(msgspec.Struct, frozen=True):
    """A baseline that was built elsewhere; `left_out` says which of its features it lost, why."""

    baseline: BaselineSummary
    left_out: dict[str, str]


class Listed(msgspec.Struct, frozen=True):
    """Every version, oldest first."""

    baselines: list[BaselineSummary]


class DroppedVersions(msgspec.Struct, frozen=True):
    """Versions that were removed."""

    dropped: int
