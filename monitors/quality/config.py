"""Configuration of data quality: `monitors.quality`, and contracts in `monitors.features`."""

from typing import Self

from pydantic import Field, model_validator

from monitors.quality.options import Declared
from monitors.sections import Frozen


class QualityConfig(Frozen):
    """What is watched of data quality beside declared contracts."""

    enabled: bool = True  # false: neither contracts nor rates are watched
    outliers: float = Field(0.01, gt=0, le=1)  # more of the rows outside the baseline's range
    new_inputs: bool = True  # new inputs of a model, and inputs of another type, are told


class ContractConfig(Frozen):
    """What a feature's values must be; a breach needs no baseline and no evidence."""

    min: float | None = None  # numbers below break the contract
    max: float | None = None  # numbers above do
    categories: tuple[str, ...] | None = None  # other values do
    required: bool = False  # missing values do
    type: Declared | None = None  # inputs of models: values of another type do
    tolerance: float = Field(0.0, ge=0, lt=1)  # share of rows that may

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` must not lie above `max`")
        if self.categories is not None and (self.min is not None or self.max is not None):
            raise ValueError("takes `categories` or `min` and `max`, not both")
        return self
