"""What a look remembers of the looks before: it stands in the details of their verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from storage.records import Verdict

Severity = Literal["none", "warning", "critical"]

FACTS = ("first_at", "changed", "carried_by", "sample_ids", "alerts_30d", "common_shock")
"""Details of the verdict that opened an episode which those after it repeat."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a stream stands in its episode.

    Attributes
    ----------
    latched : bool
        Its detector's evidence stands.
    opened_at, onset_at : int
        Microseconds since the epoch; 0 while no episode is open.
    shared : bool
        Several routes drifted at once, and this one's episode is theirs.
    facts : mapping
        What was found out when it opened, see `FACTS`.
    """

    open: bool = False
    latched: bool = False
    calm_looks: int = 0
    severity: Severity = "none"
    opened_at: int = 0
    onset_at: int = 0
    shared: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, previous: Verdict | None, baseline: str) -> "Memory":
        """Read what a verdict remembers; one on another baseline only ends what is shared."""
        if previous is None:
            return cls()
        shared = is_shared(previous)
        if previous.baseline != baseline or not is_held(previous):
            return cls(shared=shared)
        details = previous.details
        is_open = details.get("open") is True
        critical = "critical" in {details.get("severity"), previous.severity}
        return cls(
            open=is_open,
            latched=details.get("latched") is True,
            calm_looks=_whole(details.get("calm_looks")),
            severity=("critical" if critical else "warning") if is_open else "none",
            opened_at=_whole(details.get("opened_at")),
            # Evidence alone has an onset, too; that of an episode is the one it opened with.
            onset_at=_whole(details.get("onset_at")) if is_open else 0,
            shared=shared,
            facts={name: details[name] for name in FACTS if name in details} if is_open else {},
        )


def is_held(verdict: Verdict) -> bool:
    """Say whether an episode is open, or evidence latched, after a verdict."""
    return verdict.details.get("open") is True or verdict.details.get("latched") is True


def is_shared(verdict: Verdict) -> bool:
    """Say whether the episode of all routes still waits for this one's end."""
    details = verdict.details
    waits = is_held(verdict) or (verdict.value is None and "ended" not in details)
    return waits and details.get("shared") is True


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
