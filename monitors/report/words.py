"""Numbers, shares, durations and verdicts as people read them: the same in every format."""

from monitors.report.parts import Interval
from monitors.windows import from_us

UNKNOWN = "-"
_WORDS = {"not_enough_data": "not enough data"}


def verdict(word: str, severity: str = "none") -> str:
    """Return a verdict, with its severity where it has one."""
    said = _WORDS.get(word, word)
    return said if severity == "none" else f"{said}, {severity}"


def seconds(value: float | None) -> str:
    """Return a duration in the unit that suits it."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size == 0.0:
        return "0 s"
    if size < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.3g} ms" if size < 0.9995 else f"{value:.2f} s"


def share(value: float | None) -> str:
    """Return a share in percent."""
    if value is None:
        return UNKNOWN
    return f"{value:.2%}" if 0.0 < abs(value) < 0.01 else f"{value:.1%}"


def number(value: float | None) -> str:
    """Return a whole number with thousands apart."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def large(value: float | None) -> str:
    """Return a whole number where there is little room: from a hundred million on in millions."""
    if value is None or value < 1e8:
        return number(value)
    return f"{value / 1e6:,.1f} M"


def figure(value: float | None) -> str:
    """Return a number of any size with three digits or more."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def dollars(value: float | None) -> str:
    """Return a sum of money without its unit."""
    return UNKNOWN if value is None else f"{value:,.4f}"


def chance(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return UNKNOWN
    return "<0.0001" if value < 0.0001 else f"{value:.2g}"


def psi(value: float | None) -> str:
    """Return a distance with three decimals, small ones with four."""
    if value is None:
        return UNKNOWN
    if value == 0.0:
        return "0"
    if 0.0 < value < 0.00005:
        return "<0.0001"
    return f"{value:.4f}" if 0.0 < value < 0.0095 else f"{value:.3f}"


def span(low: str, high: str) -> str:
    """Return an interval of two worded ends."""
    return UNKNOWN if UNKNOWN in {low, high} else f"{low}..{high}"


def moment(at_us: int | None) -> str:
    """Return a time, UTC."""
    return UNKNOWN if at_us is None else from_us(at_us)


def period(interval: Interval) -> str:
    """Return an interval of time, UTC."""
    return f"{from_us(interval.from_us)} to {from_us(interval.to_us)}"
