"""Configuration of spending: `monitors.spend`."""

from pydantic import Field

from monitors.sections import Frozen


class CapConfig(Frozen):
    """Most of a UTC day; from 80 % on it is a warning."""

    usd_per_day: float | None = Field(None, gt=0)  # US dollars, of requests whose cost is known
    tokens_per_day: int | None = Field(None, gt=0)  # of prompts and answers


class SpendConfig(CapConfig):
    """Caps of all routes together, and the comparison of hours with earlier days."""

    enabled: bool = True  # false: neither caps nor hours are watched
    ratio: float = Field(2.0, gt=1)  # an hour matters from so many times the usual one on
    routes: dict[str, CapConfig] = Field({})  # caps of single routes
