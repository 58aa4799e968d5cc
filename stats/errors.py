"""What the statistics refuse.

StatsError
├── NotEnoughSamples    too few usable rows to say anything
├── InvalidInput        wrong shape, negative counts, cells that do not belong together
└── NoScale             the reference has no spread, so a distance has no unit
"""


class StatsError(Exception):
    """Base of everything that `stats` raises on purpose."""


class NotEnoughSamples(StatsError):
    """A window is empty, all missing or tiny; that is an answer of its own, never "no drift".

    Attributes
    ----------
    n, needed : int
        Usable rows found and the least number that the statistic is defined for.
    """

    def __init__(self, n: int, needed: int, window: str = "window") -> None:
        super().__init__(f"the {window} has {n} usable rows; at least {needed} are needed.")
        self.n = n
        self.needed = needed
        self.window = window


class InvalidInput(StatsError):
    """An argument that no data could make right; the message names it and the way out."""


class NoScale(StatsError):
    """The reference's spread is zero, so that the distance cannot be put in its unit.

    Attributes
    ----------
    unit : str
        Unit that was asked for: `sd` or `iqr`.
    distance : float
        Raw Wasserstein-1 distance: zero if nothing moved.
    """

    def __init__(self, unit: str, distance: float) -> None:
        super().__init__(
            f"the reference has no spread, so Wasserstein-1 has no `{unit}` unit; "
            f'the raw distance is {distance:.6g}: use unit="raw" or PSI.'
        )
        self.unit = unit
        self.distance = distance
