"""Names of what is watched of embeddings, and which of them are one finding.

An embedding is watched as its parts along fixed directions (`stats.projection`) and its length,
each an input of its model. They move together, and no single one of them says anything to people.
"""

import re
from typing import Literal

Group = Literal["embedding", "prompt_embedding", "answer_embedding"]
"""Of an answer of embeddings; of a route's prompts and answers, which another route embeds."""

GROUPS: tuple[Group, ...] = ("embedding", "prompt_embedding", "answer_embedding")

_INPUT = "input."
_PART = re.compile(r"((?:prompt_|answer_)?embedding)\.(?:d\d\d|norm)")


def direction_name(group: Group, number: int) -> str:
    """Return the input that is an embedding's part along a direction; `input.` is not in it."""
    return f"{group}.d{number:02d}"


def norm_name(group: Group) -> str:
    """Return the input that is an embedding's length."""
    return f"{group}.norm"


def group_of(feature: str) -> str | None:
    """Return what `input.embedding.d03` is a part of, here `embedding`; None is no embedding."""
    if not feature.startswith(_INPUT):
        return None
    found = _PART.fullmatch(feature, len(_INPUT))
    return found[1] if found is not None else None


def is_part(name: str) -> bool:
    """Say whether an input, named without `input.`, is a part of an embedding."""
    return _PART.fullmatch(name) is not None


def finding_of(feature: str) -> str:
    """Return what a feature is told as: the group of an embedding's part, else itself."""
    return group_of(feature) or feature
