"""What the making of references is told, without the library that checks it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

AFTER_S = 259_200.0
ROWS = 1000


class AutomaticOptions(Protocol):
    """When the first rows of a route become its baseline."""

    @property
    def after(self) -> float:
        """Seconds from the first row."""
        ...

    @property
    def rows(self) -> int:
        """Least rows."""
        ...


class BaselineOptions(Protocol):
    """Where a route's baseline comes from: a period, the time before, or the first days."""

    @property
    def start(self) -> datetime | None:
        """First instant of a period."""
        ...

    @property
    def end(self) -> datetime | None:
        """First instant after it."""
        ...

    @property
    def previous(self) -> float | None:
        """Seconds before each midnight (UTC): a new version a day."""
        ...

    @property
    def automatic(self) -> AutomaticOptions:
        """What holds where there is no period and no `previous`."""
        ...

    @property
    def variant(self) -> str | None:
        """Rows of this variant alone."""
        ...

    @property
    def seasonal(self) -> bool:
        """Keep counts by hour of the week."""
        ...


class DependenceOptions(Protocol):
    """Which rows depend on each other."""

    @property
    def key(self) -> str:
        """`user`, `tenant` or `tag:NAME`."""
        ...


@dataclass(frozen=True, slots=True)
class Automatic:
    """Defaults of `monitors.baseline.automatic`."""

    after: float = AFTER_S
    rows: int = ROWS


@dataclass(frozen=True, slots=True)
class BaselineDefaults:
    """Defaults of `monitors.baseline`."""

    start: datetime | None = None
    end: datetime | None = None
    previous: float | None = None
    automatic: AutomaticOptions = Automatic()
    variant: str | None = None
    seasonal: bool = False


AUTOMATIC = BaselineDefaults()
"""What holds where no configuration file says otherwise."""
