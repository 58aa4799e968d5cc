"""What the watch over data quality is told, without the library that checks it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Declared = Literal["number", "text", "flag"]
"""Kinds of values; whole numbers are numbers."""


class QualityOptions(Protocol):
    """What is watched of data quality beside declared contracts."""

    @property
    def enabled(self) -> bool:
        """Whether anything is."""
        ...

    @property
    def outliers(self) -> float:
        """Change of the share of rows outside the reference's range that matters, 0..1."""
        ...

    @property
    def new_inputs(self) -> bool:
        """Whether new inputs of a model, and inputs of another type, raise an alert."""
        ...


class ContractOptions(Protocol):
    """What a feature's values must be, as declared in `monitors.features`."""

    @property
    def min(self) -> float | None:
        """Least value."""
        ...

    @property
    def max(self) -> float | None:
        """Greatest value."""
        ...

    @property
    def categories(self) -> Sequence[str] | None:
        """The only values."""
        ...

    @property
    def required(self) -> bool:
        """Never missing."""
        ...

    @property
    def type(self) -> Declared | None:
        """Kind of every value."""
        ...

    @property
    def tolerance(self) -> float:
        """Share of rows that may break the contract, 0..1."""
        ...


@dataclass(frozen=True, slots=True)
class Quality:
    """Defaults of `monitors.quality`."""

    enabled: bool = True
    outliers: float = 0.01
    new_inputs: bool = True


@dataclass(frozen=True, slots=True)
class Contract:
    """Nothing declared."""

    min: float | None = None
    max: float | None = None
    categories: Sequence[str] | None = None
    required: bool = False
    type: Declared | None = None
    tolerance: float = 0.0


QUALITY_DEFAULTS = Quality()
"""What holds where `monitors.quality` is not given."""
