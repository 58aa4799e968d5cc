"""What goes into the next batch: a pure plan over the sequences that run."""

from collections.abc import Iterable
from typing import NamedTuple


class Need(NamedTuple):
    """What a sequence could put into a batch.

    Attributes
    ----------
    slot : int
    pending_tokens : int
        Tokens that are known and not evaluated yet: 1 while it generates, more in its prompt.
    generating : bool
        Whether its prompt is evaluated.
    """

    slot: int
    pending_tokens: int
    generating: bool


class Share(NamedTuple):
    """What it may put in: this many tokens; `output` when they reach the end of what is known."""

    slot: int
    tokens: int
    output: bool


def plan_batch(needs: Iterable[Need], *, capacity: int) -> list[Share]:
    """Share a batch: one token for each that generates, the rest for prompts in their order.

    So a long prompt costs the running streams a bounded pause at each step and never stops them.

    Parameters
    ----------
    needs : iterable of Need
        In the order of admission.
    capacity : int
        Tokens in a batch; at least the number of slots.
    """
    ordered = sorted(needs, key=lambda need: not need.generating)
    shares = []
    room = capacity
    for need in ordered:
        tokens = min(need.pending_tokens, room)
        if tokens <= 0:
            continue
        room -= tokens
        shares.append(Share(need.slot, tokens, output=tokens == need.pending_tokens))
    return shares
