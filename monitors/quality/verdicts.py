"""From findings to verdicts: open at once, closed after calm looks."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from monitors import windows
from monitors.breaches import is_open
from monitors.endings import ended
from monitors.quality.judge import Finding, leading, sentence
from monitors.silence import SEEN_AT, Patience, given_up, seen_at
from storage.reader import Window
from storage.records import Verdict

MONITOR = "quality"
VARIED = "varied"
"""In a verdict's details: a look saw many values within one window."""

Word = Literal["ok", "breach", "not_enough_data", "stale"]
Severity = Literal["none", "warning", "critical"]


class Look(NamedTuple):
    """What is the same for all features of a look at a route.

    Attributes
    ----------
    baseline : str
        `name@version`; empty without one.
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
        return Patience(self.clear_after, windows.Window(*self.window).length_s)


class State(NamedTuple):
    """Where a feature stands in its episode."""

    open: bool = False
    calm_looks: int = 0
    severity: Severity = "none"


def stepped(before: Verdict | None, severity: Severity, look: Look, *, is_calm: bool) -> State:
    """Return where a feature stands after a look; a severity of `none` is no breach."""
    was = state_of(before)
    if severity != "none":
        critical = "critical" in {was.severity, severity}
        return State(open=True, severity="critical" if critical else "warning")
    if not was.open:
        return State()
    looks = was.calm_looks + 1 if is_calm else 0
    return (
        State()
        if looks >= look.clear_after
        else State(open=True, calm_looks=looks, severity=was.severity)
    )


def state_of(before: Verdict | None) -> State:
    """Return where a feature stood, from its verdict of the look before."""
    if before is None or not is_open(before):
        return State()
    calm, severity = before.details.get("calm_looks"), before.details.get("severity")
    return State(
        open=True,
        calm_looks=calm if isinstance(calm, int) else 0,
        severity="critical" if severity == "critical" else "warning",
    )


def has_varied(before: Verdict | None) -> bool:
    """Say whether a look before saw that a feature varies from row to row."""
    return before is not None and before.details.get(VARIED) is True


def verdict_of(
    look: Look,
    feature: str,
    findings: Sequence[Finding],
    before: Verdict | None,
    *,
    varied: bool = False,
) -> Verdict:
    """Return a feature's verdict; without findings there were too few rows for any."""
    if not findings:
        return unseen(look, feature, before, word="not_enough_data")
    breaches = [finding for finding in findings if finding.is_breach]
    lead = leading(findings)
    severity: Severity = "none"
    if breaches:
        severity = "critical" if any(one.is_critical for one in breaches) else "warning"
    state = stepped(before, severity, look, is_calm=all(f.is_calm for f in findings))
    check = lead.check
    return made(
        look,
        feature,
        state,
        Measured(
            check.name,
            lead.effect,
            lead.interval.low,
            lead.interval.high,
            check.level,
            0 if check.before is None else check.before.rows,
            check.now.rows,
        ),
        {
            "cause": sentence(feature, lead),
            "declared": check.before is None,
            VARIED: varied,
            "p_value": lead.chance,
            "share": check.now.value,
            "checks": [
                {
                    "check": one.check.name,
                    "rows": one.check.now.hits,
                    "share": one.check.now.value,
                    "before": None if one.check.before is None else one.check.before.value,
                    "breach": one.is_breach,
                }
                for one in findings
            ],
        },
    )


def unseen(look: Look, feature: str, before: Verdict | None, *, word: Word = "stale") -> Verdict:
    """Return a verdict that says nothing new: what is open stays open while it is waited for."""
    if before is not None and is_open(before):
        why = given_up(before, look.at, look.patience)
        if why:
            last = ended(before, windows.Window(*look.window), why)
            return msgspec.structs.replace(
                last, details={**last.details, VARIED: has_varied(before)}
            )
    details: dict[str, object] = {
        "cause": f"`{feature}` had too few rows",
        VARIED: has_varied(before),
        **({} if before is None else {SEEN_AT: seen_at(before, look.at, look.patience)}),
    }
    return made(look, feature, state_of(before), NOTHING, details, word=word)


class Measured(NamedTuple):
    """The number of a verdict, with its 95 % interval, its level and the rows of both windows."""

    statistic: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    n_reference: int = 0
    n_current: int = 0


NOTHING = Measured("missing_rate")


def made(
    look: Look,
    feature: str,
    state: State,
    measured: Measured,
    details: dict[str, object],
    *,
    word: Word | None = None,
) -> Verdict:
    """Return a verdict; its word is `breach` or `ok` unless it is given."""
    return Verdict(
        id=f"{MONITOR}:{look.route}:{feature}:{look.at}",
        at=look.at,
        monitor=MONITOR,
        route=look.route,
        feature=feature,
        kind="numeric",
        verdict=word or ("breach" if state.open else "ok"),
        severity=state.severity,
        statistic=measured.statistic,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        threshold=measured.threshold,
        n_reference=measured.n_reference,
        n_current=measured.n_current,
        window_from=look.window.from_us,
        window_to=look.window.to_us,
        baseline=look.baseline,
        details={
            "open": state.open,
            "calm_looks": state.calm_looks,
            "severity": state.severity,
            **details,
        },
    )
