"""Whether an answer got stuck: the same words over and over until it was cut."""

LEAST_CHARS = 128
"""So much of the answer repeats what went just before; a shorter loop is a figure of speech."""

LEAST_TURNS = 4
LONGEST_TURN_CHARS = 512
"""What is said over and over is at most so long."""

_PIECE = 32
_LOOKED_AT_MIDDLE = 1_000


def is_repeated(answer: str) -> bool:
    """Return True for an answer that ends in a loop, or is in one halfway.

    A loop is the same text, character by character, four times in a row and 128 characters at
    least: rows of a table or of JSON that differ in one word are none.
    """
    end = len(answer)
    if end < LEAST_CHARS:
        return False
    if answer[-1].isspace():
        end = len(answer.rstrip())
    return _loops(answer, end) or (end >= _LOOKED_AT_MIDDLE and _loops(answer, end // 2))


def _loops(text: str, end: int) -> bool:
    """Say whether a text, up to a place, ends in a loop."""
    start = end - _PIECE
    if start < 0:
        return False
    before = text.rfind(text[start:end], max(0, start - LONGEST_TURN_CHARS), end - 1)
    if before < 0:
        return False
    turn = start - before
    again = max(LEAST_CHARS, LEAST_TURNS * turn) - turn
    return end - turn >= again and text[end - again : end] == text[end - turn - again : end - turn]
