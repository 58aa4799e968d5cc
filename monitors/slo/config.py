"""Configuration of objectives: `monitors.slos`."""

from typing import Self

from pydantic import Field, model_validator

from monitors.sections import Frozen
from router.durations import DurationSeconds


class SloConfig(Frozen):
    """A share of requests that is to be good over 30 days; without a time, failures are bad."""

    enabled: bool = True  # false: not watched; `errors: {enabled: false}` ends the default one
    route: str = "*"  # `*`: every route, each on its own
    variant: str | None = None  # only what the split sent to this upstream
    objective: float = Field(0.99, gt=0, lt=1)  # share of requests that are to be good
    errors: bool | None = None  # true says in words what holds without a time: failures are bad
    latency_s: DurationSeconds | None = None  # good: answered within; buckets are 2 % wide
    ttft_s: DurationSeconds | None = None  # good: first content within, of streams
    min_samples: int = Field(10, ge=1)  # fewer requests: not enough data

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        given = [self.latency_s is not None, self.ttft_s is not None, self.errors is True]
        if sum(given) > 1:
            raise ValueError("takes one of `errors`, `latency_s` and `ttft_s`")
        if self.errors is False and sum(given) == 0:
            raise ValueError(
                "with `errors: false` it needs `latency_s` or `ttft_s`; "
                "`enabled: false` ends an objective"
            )
        return self
