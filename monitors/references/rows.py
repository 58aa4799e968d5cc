"""Rows of one feature of a reference, with what else is known of each row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from monitors.signals.table import Kind
from stats.arrays import CountArray, FloatArray, as_values
from stats.categories import name_of


class Members(NamedTuple):
    """Which values of a segment key each row has.

    Attributes
    ----------
    values : tuple of str
        The values that are told apart.
    bits : ndarray of int64, shape (rows,)
        Bit i is set where the row has `values[i]`, the bit after the last one where it has another
        value; a row has several values of `tag`, and one or none of other keys.
    """

    values: tuple[str, ...]
    bits: CountArray


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """What is known of the rows of a feature beside its values, in their order.

    Attributes
    ----------
    started_at : ndarray of int64, shape (rows,), or None
        Microseconds since the epoch; None is not known.
    in_order : bool
        Rows are in the order of time, although it is not known.
    segments : mapping of str to Members
        By segment key.
    clusters : ndarray of int64, shape (rows,), or None
        Rows of the same number depend on each other.
    """

    started_at: CountArray | None = None
    in_order: bool = False
    segments: Mapping[str, Members] = field(default_factory=dict)
    clusters: CountArray | None = None


class FeatureRows(Protocol):
    """One feature of a reference; each method is called once, and may read it anew."""

    @property
    def kind(self) -> Kind:
        """Whether it is a number or a category."""
        ...

    @property
    def discrete(self) -> bool | None:
        """Whether each value of a number has a cell to itself; None: its values decide."""
        ...

    def numbers(self) -> tuple[FloatArray, Groups]:
        """Return the rows of a number, NaN for unknown."""
        ...

    def table(self) -> Mapping[str | None, int]:
        """Return the rows of a category by value; None is unknown."""
        ...

    def coded(self, top: Sequence[str]) -> tuple[CountArray, Groups]:
        """Return a category's rows as places in `top`: its length for others, -1 for unknown."""
        ...


class ColumnRows:
    """A feature whose rows are held in memory.

    Parameters
    ----------
    values : array_like of shape (rows,)
        Numbers or None for a number; anything for a category, None and NaN being unknown.
    """

    def __init__(
        self,
        kind: Kind,
        values: Sequence[object] | FloatArray,
        groups: Groups | None = None,
        *,
        discrete: bool | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.discrete = discrete
        self._values = values
        self._groups = Groups() if groups is None else groups

    def numbers(self) -> tuple[FloatArray, Groups]:
        """Return the rows of a number, NaN for unknown."""
        return as_values(self._values), self._groups  # type: ignore[arg-type]  # checked there

    def table(self) -> Mapping[str | None, int]:
        """Return the rows of a category by value; None is unknown."""
        return Counter(map(name_of, self._values))

    def coded(self, top: Sequence[str]) -> tuple[CountArray, Groups]:
        """Return a category's rows as places in `top`."""
        places: dict[str | None, int] = {name: place for place, name in enumerate(top)}
        places[None] = -1
        codes = [places.get(name_of(value), len(top)) for value in self._values]
        return np.array(codes, dtype=np.int64), self._groups


class CountedRows:
    """A category of which only the rows by value are known."""

    kind: Kind = "categorical"
    discrete: bool | None = None

    def __init__(self, rows: Mapping[str | None, int]) -> None:
        self._rows = rows

    def numbers(self) -> tuple[FloatArray, Groups]:
        """Say that it is no number."""
        raise TypeError("a category has no numbers")

    def table(self) -> Mapping[str | None, int]:
        """Return the rows by value."""
        return self._rows

    def coded(self, top: Sequence[str]) -> tuple[CountArray, Groups]:
        """Return no rows, since none are known apart."""
        del top
        return np.empty(0, dtype=np.int64), Groups()
