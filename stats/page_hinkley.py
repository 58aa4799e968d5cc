"""The Page-Hinkley test: a CUSUM of deviations from the running mean, in both directions.

For comparison: the benchmarks run it beside the detector of `stats.detector`.
"""

from dataclasses import dataclass, replace

from stats.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """What is kept between values.

    Attributes
    ----------
    allowance : float
        Deviation from the mean that is no change, >= 0, in the values' unit.
    threshold : float
        Level of the sum at which a change is told, > 0.
    n : int
        Values so far.
    mean : float
        Their mean.
    up, down : float
        Sums of deviations above and below it since they were last nothing.
    """

    allowance: float
    threshold: float
    n: int = 0
    mean: float = 0.0
    up: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        if not self.allowance >= 0.0 or not self.threshold > 0.0:
            given = f"allowance {self.allowance} and threshold {self.threshold}"
            raise InvalidInput(f"{given}: give a number >= 0 and one > 0.")

    @property
    def drifted(self) -> bool:
        """Whether one of the sums reached the threshold."""
        return max(self.up, self.down) >= self.threshold


def update(state: PageHinkley, value: float) -> PageHinkley:
    """Take a value in; a test that told a change begins anew with it.

    References
    ----------
    E. S. Page, Continuous inspection schemes, Biometrika 41 (1954).
    H. Mouss, D. Mouss, N. Mouss and L. Sefouhi, Test of Page-Hinkley, an approach for fault
    detection in an agro-alimentary production system, Asian Control Conference (2004).
    """
    if state.drifted:
        state = PageHinkley(state.allowance, state.threshold)
    n = state.n + 1
    mean = state.mean + (value - state.mean) / n
    return replace(
        state,
        n=n,
        mean=mean,
        up=max(0.0, state.up + value - mean - state.allowance),
        down=max(0.0, state.down + mean - value - state.allowance),
    )
