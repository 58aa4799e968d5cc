"""Words for neighbouring cells of a number that were joined into one."""

JOINED = " … "
"""Between the names of the first and the last."""


def range_words(name: str) -> str:
    """Return `223 to 622 … from 622` as `from 223`; one cell's own name stays as it is."""
    first, _, last = name.partition(JOINED)
    if not last or last.startswith("exactly "):
        return name
    low = None if first.startswith("below ") else first.removeprefix("exactly ").split(" to ")[0]
    high = None if last.startswith("from ") else last.split(" to ")[-1]
    if low is None:
        return name if high is None else f"below {high}"
    return f"from {low}" if high is None else f"{low} to {high}"
