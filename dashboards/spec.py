"""What a board is made of, free of any library: queries, panels, rows."""

import re
from dataclasses import dataclass
from typing import Literal

from monitors.metrics import METRICS, PREFIX

WIDTH = 24
"""Columns of Grafana's grid."""

_NAME = re.compile(rf"\b{PREFIX}[a-z0-9_]+")

Kind = Literal["stat", "timeseries", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression; `legend` is a template such as `{{route}}`, or a table's column."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes
    ----------
    meaning : str
        What it shows and what it does not count; the metrics it reads are added.
    unit : str
        Grafana's unit id.
    steps : tuple of (float, str)
        Colours from these values on; green below.
    words : tuple of (float, str, str)
        Values shown as a word, in a colour; of a table, in its last column.
    """

    kind: Kind
    title: str
    meaning: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    steps: tuple[tuple[float, str], ...] = ()
    words: tuple[tuple[float, str, str], ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the series that the queries read, without histogram suffixes."""
        known = {metric.series_name for metric in METRICS}
        found: list[str] = []
        for name in _NAME.findall(" ".join(query.expr for query in self.queries)):
            base = name if name in known else name.removesuffix("_bucket").removesuffix("_count")
            if base not in found:
                found.append(base)
        return tuple(found)

    @property
    def description(self) -> str:
        """Return the meaning and the metrics read."""
        return f"{self.meaning} Reads {', '.join(f'`{name}`' for name in self.metrics)}."


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A whole board."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
