"""Words of upstreams and clients on their way to a terminal."""


def printable(text: str) -> str:
    """Return the text with U+FFFD for control characters: no word may steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
