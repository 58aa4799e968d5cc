"""Missing rows: a signal of its own, since shares of the rest hide it."""

from stats.confidence import newcombe, wilson
from stats.errors import NotEnoughSamples
from stats.results import RateChange


def rate_change(reference_hits: int, m: int, current_hits: int, n: int) -> RateChange:
    """Change of a share: missing, invalid, refused, failed rows.

    Parameters
    ----------
    reference_hits, m, current_hits, n : int
        Rows that are missing, and all rows, of the reference and of the current window.

    Returns
    -------
    RateChange
        `value` is current less reference, in [-1, 1], with Newcombe's interval.

    Raises
    ------
    NotEnoughSamples
        If a window is empty. A window in which *every* row is missing is not empty here.

    Examples
    --------
    >>> change = rate_change(100, 1000, 40, 100)
    >>> round(change.value, 3), round(change.interval.low, 3), round(change.interval.high, 3)
    (0.3, 0.207, 0.399)
    """
    if m < 1:
        raise NotEnoughSamples(m, 1, "reference")
    if n < 1:
        raise NotEnoughSamples(n, 1, "current window")
    return RateChange(
        value=current_hits / n - reference_hits / m,
        interval=newcombe(reference_hits, m, current_hits, n),
        n_reference=m,
        n_current=n,
        reference_rate=reference_hits / m,
        current_rate=current_hits / n,
        reference_interval=wilson(reference_hits, m),
        current_interval=wilson(current_hits, n),
    )
