"""One titled table of a report."""

from collections.abc import Sequence
from typing import NamedTuple

LEFT = frozenset(
    {
        *("route", "variant", "role", "upstream", "feature", "verdict", "severity", "baseline"),
        *("cause", "state", "kind", "opened", "began", "summary", "reason", "time", "against"),
        *("metric", "segment", "name", "statistic", "at", "event", "by", "source", "rows from"),
    }
)
"""Columns of words; all others are of numbers."""
SENTENCES = frozenset({"summary"})


class Section(NamedTuple):
    """A table.

    Attributes
    ----------
    key : str
        The section's name in JSON and CSV, and its anchor in HTML.
    columns : tuple of str
    rows : tuple of tuple of str
        As many words as columns.
    says : tuple of str
        Sentences below the table.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    says: tuple[str, ...] = ()


def section(
    key: str,
    title: str,
    columns: str,
    rows: Sequence[Sequence[str]],
    says: Sequence[str] = (),
) -> Section:
    """Return a table; the names of its columns come with a bar between them."""
    return Section(key, title, tuple(columns.split("|")), tuple(map(tuple, rows)), tuple(says))
