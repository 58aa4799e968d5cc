"""Findings about all directions of an embedding, as the one that a reader is told."""

from collections.abc import Iterable, Sequence

import msgspec

from monitors.embeddings.names import finding_of, group_of
from monitors.embeddings.together import cause_of_parts
from monitors.report.model import Finding

_SEVERITIES = ("none", "warning", "critical")


def together(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the worst of an embedding in place of those of all its parts.

    It is named as the embedding. Others stay as they are, in their order.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        key = (finding.route, finding.segment, finding_of(finding.feature))
        groups.setdefault(key, []).append(finding)
    return tuple(
        found[0] if group_of(found[0].feature) is None else _one(name, found)
        for (_, _, name), found in groups.items()
    )


def _one(name: str, found: Sequence[Finding]) -> Finding:
    worst = max(found, key=_moved)
    parts = [one.feature.rpartition(".")[2] for one in found if one.verdict == "drift"]
    cause = cause_of_parts(parts) if parts else worst.cause
    return msgspec.structs.replace(worst, feature=name, cause=cause)


def _moved(one: Finding) -> tuple[bool, int, float]:
    is_drift = one.verdict == "drift"
    return is_drift, _SEVERITIES.index(one.severity), -1.0 if one.value is None else one.value
