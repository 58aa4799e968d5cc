"""What the watch over performance is told, without the library that checks it."""

from dataclasses import dataclass
from typing import Protocol


class PerformanceOptions(Protocol):
    """Which fall of labels and scores against the baseline's period matters."""

    @property
    def enabled(self) -> bool:
        """Whether anything is watched."""
        ...

    @property
    def window(self) -> float:
        """Seconds of feedback that are looked at."""
        ...

    @property
    def accuracy(self) -> float:
        """Fall of the accuracy that matters, 0..1."""
        ...

    @property
    def sd(self) -> float:
        """Change of scores and errors that matters, in standard deviations of the baseline's."""
        ...


@dataclass(frozen=True, slots=True)
class PerformanceWatch:
    """Defaults of `monitors.performance`."""

    enabled: bool = True
    window: float = 86_400.0
    accuracy: float = 0.02
    sd: float = 0.1


PERFORMANCE_DEFAULTS = PerformanceWatch()
"""What holds where `monitors.performance` is not given."""
