"""Configuration of references: `monitors.baseline` and `monitors.dependence`."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from monitors.references.options import AFTER_S, ROWS
from monitors.sections import Frozen
from router.durations import DurationSeconds

DAY_S = 86_400.0
WEEKS_S = 14 * DAY_S


class AutomaticConfig(Frozen):
    """The first days of a route become its baseline, once there are enough rows."""

    after: DurationSeconds = AFTER_S  # from the route's first row; seasonal: 14d at least
    rows: int = Field(ROWS, ge=10)  # until there are as many, the days grow


class BaselineConfig(Frozen):
    """Where a route's baseline comes from: a period, the time before, or the first days."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    start: datetime | None = Field(None, alias="from")  # first instant; UTC without a zone
    end: datetime | None = Field(None, alias="to")  # first instant after it
    previous: DurationSeconds | None = None  # so long before midnight, a new version a day
    automatic: AutomaticConfig = AutomaticConfig()  # without a period and `previous`
    variant: str | None = Field(None, min_length=1)  # its rows alone, for every variant
    seasonal: bool = False  # by hour of the week, from two weeks at least

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("`from` and `to` belong together: a period has both ends")
        if self.start is not None and self.previous is not None:
            raise ValueError("`from` and `previous` exclude each other: keep one of them")
        if self.start is not None and self.end is not None:
            start, end = (
                one if one.tzinfo is not None else one.replace(tzinfo=UTC)
                for one in (self.start, self.end)
            )
            if start >= end:
                raise ValueError("`from` must lie before `to`")
            self._long_enough((end - start).total_seconds(), "the period")
        if self.previous is not None:
            if self.previous < DAY_S:
                raise ValueError("`previous` must be a day or longer: it moves once a day")
            self._long_enough(self.previous, "`previous`")
        return self

    def _long_enough(self, length_s: float, name: str) -> None:
        if self.seasonal and length_s < WEEKS_S:
            raise ValueError(f"{name} must be 14d or longer for `seasonal`: every hour twice")


DependenceKey = Annotated[str, Field(pattern=r"^(user|tenant|tag:[A-Za-z0-9_./-]{1,60})$")]


class DependenceConfig(Frozen):
    """Which rows depend on each other: their evidence counts for less."""

    key: DependenceKey  # `user`, `tenant`, or `tag:NAME` for tags such as `NAME=...`
