"""What monitors keep in the prediction log beside verdicts: detectors and silences."""

import msgspec


class Detector(msgspec.Struct, frozen=True):
    """A sequential detector between two looks: a row of `detectors`.

    Attributes
    ----------
    segment : str
        `key=value`; empty is all rows of the route.
    baseline : str
        `name@version` it began from.
    batch : int
        Number of the newest transaction whose rows it has seen.
    body : bytes
        Its state, as `monitors` encodes it.
    """

    route: str
    segment: str
    feature: str
    baseline: str
    batch: int
    updated_at: int
    body: bytes


class Silence(msgspec.Struct, frozen=True):
    """Notifications that nobody wants for a while: a row of `silences`.

    Attributes
    ----------
    starts_at, ends_at : int
        Microseconds since the epoch, half open; one that was ended early ends then.
    matchers : dict of str to str
        Name (`route`, `kind`, `subject`, `severity`, `segment`, `feature`) to pattern; all match.
    """

    id: str
    created_at: int
    starts_at: int
    ends_at: int
    author: str
    comment: str
    matchers: dict[str, object]
