"""Durations as people write them: `300ms`, `2s`, `90m`, `1h30m`, `7d`, `2w`."""

import re

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration_s(text: str) -> float:
    """Return the seconds of a duration such as `1h30m`.

    Raises
    ------
    ValueError
        The text is not one or more numbers with a unit.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"`{text}` is not a duration; write such as `300ms`, `2s`, `1h30m`, `7d`")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
