"""What stands in a report beside traffic and drift; conventions as in `monitors.report.model`."""

from typing import Literal

import msgspec

Verdict = Literal["ok", "drift", "breach", "not_enough_data", "stale"]
Severity = Literal["none", "warning", "critical"]


class Interval(msgspec.Struct, frozen=True):
    """Half open: [from_us, to_us)."""

    from_us: int
    to_us: int


class Bin(msgspec.Struct, frozen=True):
    """Rows of one cell, before in the reference and now."""

    label: str
    reference: int
    current: int


class Check(msgspec.Struct, frozen=True):
    """The last verdict of the interval of a monitor that looks at something else than drift.

    Attributes
    ----------
    monitor : str
        `slo`, `quality`, `spend` or `performance`.
    subject : str
        An SLO's name, a feature, what is spent, or `accuracy`, `absolute_error`, `score`.
    value, low, high : float or None
        What `statistic` names, with its 95 % interval: of an SLO the burn rate.
    threshold : float or None
        From where it is a breach.
    at : int
        When it was looked at.
    cause : str
        A sentence part; may be empty.
    """

    monitor: str
    route: str
    subject: str
    segment: str
    verdict: Verdict
    severity: Severity
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    n: int
    at: int
    window: Interval
    cause: str
    measurements: dict[str, float]


class Difference(msgspec.Struct, frozen=True):
    """What one variant does otherwise than the route's largest one.

    Attributes
    ----------
    metric : str
        `error_share`, `latency_s`, `ttft_s`, `prompt_tokens`, `response_tokens`, `score`,
        `accuracy` or `absolute_error`.
    value_before, value : float
        The share or mean of `against`, and of `variant`.
    difference, low, high : float or None
        `value` less `value_before`, with an interval that holds at all looks together (95 %
        confidence sequence); None where an arm has fewer than 20 rows.
    n_before, n : int
        Rows of both that know it.
    """

    route: str
    variant: str
    against: str
    metric: str
    value_before: float
    value: float
    difference: float | None
    low: float | None
    high: float | None
    n_before: int
    n: int


class Rollout(msgspec.Struct, frozen=True):
    """One step of a rollout in the interval."""

    at: int
    route: str
    event: str
    actor: str
    summary: str


class BaselineInForce(msgspec.Struct, frozen=True):
    """What a route was compared with.

    Attributes
    ----------
    source : str
        `period`, `file`, `previous` or `automatic`, and what narrows it behind commas.
    window : Interval
        Of its rows.
    """

    route: str
    name: str
    version: int
    created_at: int
    source: str
    window: Interval
    rows: int
    features: int


class Step(msgspec.Struct, frozen=True):
    """One route in one step of time; steps without requests are left out.

    Attributes
    ----------
    latency_p50_s, latency_p95_s : float or None
        Within 1 %.
    """

    at: int
    route: str
    n: int
    errors: int
    cost_usd: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None


class Timeline(msgspec.Struct, frozen=True):
    """The interval in steps of `step_s` seconds, primaries alone."""

    step_s: float
    steps: tuple[Step, ...]
