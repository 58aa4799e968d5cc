"""Gates: what a report must not say, for pipelines that stop on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from monitors.report.model import Report

GateName = Literal["drift", "errors"]
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
    """

    name: GateName
    critical: bool = False
    share: float = DEFAULT_ERROR_SHARE


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate says of a report, and why in a sentence."""

    gate: Gate
    outcome: Outcome
    message: str


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Read `drift`, `drift:critical`, `errors`, `errors:0.05`, separated by commas.

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
    if name == "errors" and not colon:
        return Gate("errors")
    if name == "errors":
        return Gate("errors", share=_share(level))
    raise ValueError(
        f"`{word}` is no gate; write `drift`, `drift:critical`, `errors` or `errors:SHARE`"
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
    return tuple(
        _check_drift(report, gate) if gate.name == "drift" else _check_errors(report, gate)
        for gate in gates
    )


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


def _check_errors(report: Report, gate: Gate) -> GateResult:
    over = [
        f"{total.route} has {total.errors} of {total.n} ({total.error_share:.2%})"
        for total in report.routes
        if total.error_share > gate.share
    ]
    if over:
        return GateResult(gate, "tripped", f"more than {gate.share:.2%} errors: {', '.join(over)}")
    if not report.routes:
        return GateResult(gate, "unknown", "errors cannot be told: there are no predictions")
    return GateResult(gate, "passed", f"no route has more than {gate.share:.2%} errors")
