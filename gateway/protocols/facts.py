"""What answers say of themselves: the part of the record that a wire protocol fills."""

from typing import Any

import msgspec

NO_FINISH = "missing"
"""Finish reason of a stream that ended well without saying why."""

_MAX_TOKENS = 2**31  # of the record's columns


class Facts(msgspec.Struct, gc=False):
    """What an answer says of itself; None is unknown.

    Attributes
    ----------
    prompt_tokens : int or None
        Cached ones included, whatever the protocol counts.
    tool_calls : int or None
        Calls of tools that the answer asks for.
    object_id : str or None
        Under which the answer can be asked for again, where it is an object of that kind.
    """

    model_answered: str | None = None
    version: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tool_calls: int | None = None
    object_id: str | None = None


def count(value: Any) -> int | None:
    """Return a number of tokens as the record can hold it; what is none is unknown."""
    if type(value) is int:
        return value if 0 <= value < _MAX_TOKENS else None
    if isinstance(value, float) and value.is_integer() and 0 <= value < _MAX_TOKENS:
        return int(value)
    return None
