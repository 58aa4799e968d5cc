"""Configuration of the watch over labels and scores: `monitors.performance`."""

from pydantic import Field

from monitors.sections import Frozen
from router.durations import DurationSeconds


class PerformanceConfig(Frozen):
    """When labels and scores that came in are worse than those of the baseline's period."""

    enabled: bool = True  # false: they are reported, and raise no alert
    window: DurationSeconds = 86_400.0  # feedback that came in so long ago at most
    accuracy: float = Field(0.02, gt=0, lt=1)  # a fall of the accuracy that matters
    sd: float = Field(0.1, gt=0)  # of scores and errors: a change in standard deviations
