"""Directions of an embedding that drift, as the one finding that they are."""

from collections.abc import Sequence

import msgspec

from monitors.embeddings.names import finding_of, group_of
from stats.projection import DIRECTIONS
from storage.records import Verdict


def together(drifted: Sequence[Verdict]) -> list[Verdict]:
    """Return drifted verdicts with one in place of those of an embedding, in order of the first.

    It has the numbers of the one that moved most, the worst severity, and the earliest onset; its
    `details["directions"]` names the parts that moved. What opens at once with other features
    stays marked so.
    """
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in drifted:
        key = (verdict.route, verdict.segment, finding_of(verdict.feature))
        groups.setdefault(key, []).append(verdict)
    return [
        found[0] if group_of(found[0].feature) is None else _one(name, found)
        for (_, _, name), found in groups.items()
    ]


def worst_of_each(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return verdicts with the part of an embedding that moved most in place of all its parts.

    It is named as the embedding; one whose episode is open goes before the others.
    """
    worst: dict[tuple[str, str, str, str], Verdict] = {}
    for verdict in verdicts:
        name = finding_of(verdict.feature)
        key = (verdict.route, verdict.monitor, verdict.segment, name)
        known = worst.get(key)
        if known is None or _moved(verdict) > _moved(known):
            worst[key] = verdict
    return [
        one if one.feature == name else msgspec.structs.replace(one, feature=name)
        for (*_, name), one in worst.items()
    ]


def _moved(verdict: Verdict) -> tuple[bool, float]:
    return verdict.details.get("open") is True, -1.0 if verdict.value is None else verdict.value


def _one(name: str, found: Sequence[Verdict]) -> Verdict:
    most = max(found, key=lambda verdict: verdict.value or 0.0)
    parts = sorted(verdict.feature.rpartition(".")[2] for verdict in found)
    details: dict[str, object] = {
        **most.details,
        "directions": parts,
        "cause": cause_of_parts(parts),
    }
    onsets = [at for one in found if isinstance(at := one.details.get("onset_at"), int)]
    if onsets:
        details["onset_at"] = min(onsets)
    if any(one.details.get("common_shock") is True for one in found):
        details["common_shock"] = True
    # Shares of one direction's cells say nothing to anybody.
    details.pop("contributions", None)
    critical = any(one.severity == "critical" for one in found)
    severity = "critical" if critical else most.severity
    return msgspec.structs.replace(most, feature=name, severity=severity, details=details)


def cause_of_parts(parts: Sequence[str]) -> str:
    """Return how much of an embedding moved, for people: `11 of 16 directions moved`."""
    moved = sum(1 for part in parts if part != "norm")
    length = ["the length moved"] if "norm" in parts else []
    directions = [f"{moved} of {DIRECTIONS} directions moved"] if moved else []
    return " and ".join((*directions, *length))
