"""Gates: what a report must not say, for pipelines that stop on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from monitors.report.lower_bound import share_exceeds
from monitors.report.model import Report, RouteTotal
from monitors.report.parts import Check

GateName = Literal["drift", "slo", "errors", "quality", "performance"]
Outcome = Literal["passed", "tripped", "unknown"]
DEFAULT_ERROR_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition.

    Attributes
    ----------
    critical : bool
        `drift:critical`: warnings pass.
    share : float
        `errors:SHARE`: largest error share of a route that passes.
    subject : str
        `slo:NAME`: this SLO alone; empty is all.
    """

    name: GateName
    critical: bool = False
    share: float = DEFAULT_ERROR_SHARE
    subject: str = ""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate says of a report, and why in a sentence."""

    gate: Gate
    outcome: Outcome
    message: str


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Read gates with commas between them.

    They are `drift`, `drift:critical`, `slo`, `slo:NAME`, `quality`, `performance`, `errors` and
    `errors:0.05`.

    Raises
    ------
    ValueError
        The message names the word and the words that there are.
    """
    return tuple(_parse(word.strip()) for word in text.split(","))


def _parse(word: str) -> Gate:
    name, colon, level = word.partition(":")
    if name == "drift" and level in {"", "warning", "critical"} and bool(level) == bool(colon):
        return Gate("drift", critical=level == "critical")
    if name == "errors":
        return Gate("errors", share=_share(level) if colon else DEFAULT_ERROR_SHARE)
    if name == "slo" and bool(level) == bool(colon):
        return Gate("slo", subject=level)
    if name == "quality" and not colon:
        return Gate("quality")
    if name == "performance" and not colon:
        return Gate("performance")
    raise ValueError(
        f"`{word}` is no gate; write `drift`, `drift:critical`, `slo`, `slo:NAME`, `quality`,"
        " `performance`, `errors` or `errors:SHARE`"
    )


def _share(level: str) -> float:
    try:
        share = float(level)
    except ValueError:
        share = -1.0
    if not 0.0 <= share < 1.0:
        raise ValueError(f"`errors:{level}`: the share must be a number from 0 to 1, such as 0.05")
    return share


def check_gates(report: Report, gates: Sequence[Gate]) -> tuple[GateResult, ...]:
    """Return the outcome of each gate; `unknown` when there is not enough data to say."""
    checks: dict[GateName, Callable[[Report, Gate], GateResult]] = {
        "drift": _check_drift,
        "slo": _check_slos,
        "errors": _check_errors,
        "quality": _check_quality,
        "performance": _check_performance,
    }
    return tuple(checks[gate.name](report, gate) for gate in gates)


def _check_drift(report: Report, gate: Gate) -> GateResult:
    drifted = [
        f"{finding.route}/{finding.feature} ({finding.severity})"
        for finding in report.drift
        if finding.verdict == "drift" and (finding.severity == "critical" or not gate.critical)
    ]
    if drifted:
        return GateResult(gate, "tripped", f"drift of {', '.join(drifted)}")
    if not any(finding.verdict in {"ok", "drift"} for finding in report.drift):
        why = "no feature has enough data" if report.drift else "no route has a baseline"
        return GateResult(gate, "unknown", f"drift cannot be told: {why}")
    return GateResult(gate, "passed", "no drift")


def _check_slos(report: Report, gate: Gate) -> GateResult:
    found = [check for check in report.slos if gate.subject in {"", check.subject}]
    if found or not gate.subject:
        return _told(gate, found, "service levels")
    known = ", ".join(sorted({check.subject for check in report.slos})) or "none"
    why = f"no SLO `{gate.subject}` was looked at in the interval; there are: {known}"
    return GateResult(gate, "unknown", why)


def _check_quality(report: Report, gate: Gate) -> GateResult:
    return _told(gate, report.quality, "quality of data")


def _check_performance(report: Report, gate: Gate) -> GateResult:
    return _told(gate, report.performance_checks, "labels and scores")


def _told(gate: Gate, checks: Sequence[Check], what: str) -> GateResult:
    """Read what a running monitor last said."""
    over = [
        f"{check.route}/{check.subject} ({check.severity})"
        for check in checks
        if check.verdict == "breach"
    ]
    if over:
        return GateResult(gate, "tripped", f"{what} in breach: {', '.join(over)}")
    if not any(check.verdict == "ok" for check in checks):
        why = "none has enough data" if checks else "no running monitor looked in the interval"
        return GateResult(gate, "unknown", f"{what} cannot be told: {why}")
    return GateResult(gate, "passed", f"{what} hold")


def _check_errors(report: Report, gate: Gate) -> GateResult:
    above = [total for total in report.routes if total.error_share > gate.share]
    over = [t for t in above if share_exceeds(t.errors, t.n, gate.share)]
    if over:
        named = ", ".join(map(_errors, over))
        return GateResult(gate, "tripped", f"more than {gate.share:.2%} errors: {named}")
    if above:
        named = ", ".join(map(_errors, above))
        why = f"too few requests to say that there are more than {gate.share:.2%} errors: {named}"
        return GateResult(gate, "unknown", why)
    if not report.routes:
        return GateResult(gate, "unknown", "errors cannot be told: there are no predictions")
    return GateResult(gate, "passed", f"no route has more than {gate.share:.2%} errors")


def _errors(total: RouteTotal) -> str:
    return f"{total.route} has {total.errors} of {total.n} ({total.error_share:.2%})"
