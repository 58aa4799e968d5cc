"""What the watch over spending is told, without the library that checks it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class CapOptions(Protocol):
    """Most of a UTC day."""

    @property
    def usd_per_day(self) -> float | None:
        """US dollars."""
        ...

    @property
    def tokens_per_day(self) -> int | None:
        """Tokens of prompts and answers."""
        ...


class SpendOptions(CapOptions, Protocol):
    """Caps of all routes together, and whether hours are compared with earlier days."""

    @property
    def enabled(self) -> bool:
        """Whether anything is watched."""
        ...

    @property
    def ratio(self) -> float:
        """How often the usual hour an hour must hold to matter."""
        ...

    @property
    def routes(self) -> Mapping[str, CapOptions]:
        """Caps of single routes."""
        ...


@dataclass(frozen=True, slots=True)
class Spend:
    """Defaults of `monitors.spend`."""

    enabled: bool = True
    ratio: float = 2.0
    usd_per_day: float | None = None
    tokens_per_day: int | None = None
    routes: Mapping[str, CapOptions] = field(default_factory=dict)


SPEND_DEFAULTS = Spend()
"""What holds where `monitors.spend` is not given."""
