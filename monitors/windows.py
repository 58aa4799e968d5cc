"""Windows of time: closed at the start, open at the end, in microseconds since the epoch."""

from dataclasses import dataclass
from datetime import UTC, datetime

SECOND_US = 1_000_000
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Half open: [from_us, to_us), so that windows that touch share no row."""

    from_us: int
    to_us: int

    def __post_init__(self) -> None:
        if self.from_us >= self.to_us:
            raise ValueError(f"a window from {self.from_us} to {self.to_us} holds no time")

    @property
    def length_s(self) -> float:
        """Seconds."""
        return (self.to_us - self.from_us) / SECOND_US

    def __contains__(self, at_us: int) -> bool:
        return self.from_us <= at_us < self.to_us


def window_ending(at_us: int, length_s: float) -> Window:
    """Return the window of `length_s` seconds that ends at `at_us`."""
    return Window(at_us - max(1, round(length_s * SECOND_US)), at_us)


def to_us(moment: datetime) -> int:
    """Return microseconds since the epoch; a time without a zone is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def from_us(at_us: int) -> str:
    """Return ISO 8601 with seconds, in UTC, as people read it."""
    return datetime.fromtimestamp(at_us // SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
