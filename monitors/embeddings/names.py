"""Names of what is watched of embeddings, and which of them are one finding.

An embedding is watched as its parts along fixed directions (`stats.projection`) and its length,
each an input of its model. They move together, and no single one of them says anything to people.
"""

import re
from collections.abc import Iterable
from typing import Literal

Group = Literal["embedding", "prompt_embedding", "answer_embedding"]
"""Of an answer of embeddings; of a route's prompts and answers, which another route embeds."""

_NAME = re.compile(r"input\.((?:prompt_|answer_)?embedding)\.(d\d\d|norm)")


def direction_name(group: Group, number: int) -> str:
    """Return the input that is an embedding's part along a direction; `input.` is not in it."""
    return f"{group}.d{number:02d}"


def norm_name(group: Group) -> str:
    """Return the input that is an embedding's length."""
    return f"{group}.norm"


def group_of(feature: str) -> str | None:
    """Return what `input.embedding.d03` is a part of, here `embedding`; None is no embedding."""
    found = _NAME.fullmatch(feature)
    return found[1] if found is not None else None


def finding_of(feature: str) -> str:
    """Return what a feature is told as: the group of an embedding's part, else itself."""
    return group_of(feature) or feature


def findings(features: Iterable[str]) -> list[str]:
    """Return features as they are told, each group once, in order of their first."""
    return list(dict.fromkeys(map(finding_of, features)))
