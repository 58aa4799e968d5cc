"""What an objective is told, without the library that checks it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

EVERY_ROUTE = "*"


class SloOptions(Protocol):
    """One service level objective: a share of good requests over 30 days."""

    @property
    def enabled(self) -> bool:
        """Whether it is watched."""
        ...

    @property
    def route(self) -> str:
        """A route, or `*`: each of them on its own."""
        ...

    @property
    def variant(self) -> str | None:
        """Only requests that the split sent there."""
        ...

    @property
    def objective(self) -> float:
        """Share of requests that are to be good, 0..1."""
        ...

    @property
    def latency_s(self) -> float | None:
        """Good is an answer that took no longer."""
        ...

    @property
    def ttft_s(self) -> float | None:
        """Good is a stream whose first content came no later."""
        ...

    @property
    def min_samples(self) -> int:
        """Fewer requests in the long window: not enough data."""
        ...


@dataclass(frozen=True, slots=True)
class Slo:
    """Defaults of an objective: of a hundred requests of any route one may fail."""

    enabled: bool = True
    route: str = EVERY_ROUTE
    variant: str | None = None
    objective: float = 0.99
    latency_s: float | None = None
    ttft_s: float | None = None
    min_samples: int = 10


ERRORS = "errors"
"""Name of the objective that holds without a configuration."""
DEFAULT_SLOS: Mapping[str, SloOptions] = MappingProxyType({ERRORS: Slo()})
"""What is watched where the configuration names no objective called `errors`."""


def in_force(slos: Mapping[str, SloOptions]) -> dict[str, SloOptions]:
    """Return the objectives that are watched, the default one included unless it is replaced."""
    return {name: slo for name, slo in {**DEFAULT_SLOS, **slos}.items() if slo.enabled}


def measure_of(slo: SloOptions) -> str:
    """Return what makes a request bad: `errors`, `latency_s` or `ttft_s`."""
    if slo.latency_s is not None:
        return "latency_s"
    return "ttft_s" if slo.ttft_s is not None else ERRORS
