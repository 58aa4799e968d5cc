"""Cells of a category, and the one way back from their stored form."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stats.arrays import CountArray
from stats.cells import NumericCells
from stats.errors import InvalidInput, NotEnoughSamples

DEFAULT_TOP = 50
DEFAULT_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class CategoryCells:
    """Cells of a category: the `top` ones, `other`, `new`, `missing`.

    None and NaN are missing. Booleans read `true` and `false`, other values as `str` has them.

    Attributes
    ----------
    top : tuple of str
        Most frequent categories of the reference, each with a cell; ties go by name.
    rest : tuple of str
        The reference's further categories, which count as `other`.
    complete : bool
        False if the reference had more categories than are kept; what is not kept then counts
        as `other` and `new` stays empty, since the two cannot be told apart.
    """

    top: tuple[str, ...]
    rest: tuple[str, ...] = ()
    complete: bool = True
    _place: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        place = dict.fromkeys(self.rest, len(self.top))
        place.update({name: cell for cell, name in enumerate(self.top)})
        object.__setattr__(self, "_place", place)

    @classmethod
    def from_reference(
        cls,
        values: Iterable[object] | Mapping[Any, int],
        *,
        top: int = DEFAULT_TOP,
        known: int = DEFAULT_KNOWN,
    ) -> "CategoryCells":
        """Take the categories of a reference: rows, or a mapping of category to rows.

        Raises
        ------
        NotEnoughSamples
            If every row is missing.
        """
        if top < 1 or known < 0:
            raise InvalidInput(f"top is {top} and known {known}; at least 1 and 0 are needed.")
        table = _table(values)
        table.pop(None, None)
        names = [name for name, rows in table.items() if name is not None and rows > 0]
        if not names:
            raise NotEnoughSamples(0, 1, "reference")
        names.sort(key=lambda name: (-table[name], name))
        rest = names[top : top + known]
        return cls(tuple(names[:top]), tuple(rest), complete=len(names) <= top + known)

    @property
    def size(self) -> int:
        """Length of a count vector."""
        return len(self.top) + 3

    @property
    def new(self) -> int:
        """Place of the cell of categories that the reference never had."""
        return len(self.top) + 1

    @property
    def missing(self) -> int:
        """Place of the cell of missing rows: the last one."""
        return len(self.top) + 2

    def count(self, values: Iterable[object] | Mapping[Any, int]) -> CountArray:
        """Count rows, or a mapping of category to rows, by cell.

        Returns
        -------
        ndarray of int64, shape (size,)
        """
        counts = np.zeros(self.size, dtype=np.int64)
        unknown = self.new if self.complete else len(self.top)
        for name, rows in _table(values).items():
            cell = self.missing if name is None else self._place.get(name, unknown)
            counts[cell] += rows
        return counts

    def labels(self) -> tuple[str, ...]:
        """Names of the cells for people, in the order of the counts."""
        return (*self.top, "other", "new", "missing")

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON keeps without loss."""
        return {
            "kind": "categorical",
            "top": list(self.top),
            "rest": list(self.rest),
            "complete": self.complete,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CategoryCells":
        """Read what `to_dict` wrote; raises InvalidInput on anything else."""
        try:
            top, rest = tuple(map(str, data["top"])), tuple(map(str, data["rest"]))
            complete = bool(data["complete"])
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"not the stored form of category cells: {error!r}.") from error
        if len({*top, *rest}) != len(top) + len(rest):
            raise InvalidInput("category cells name a category twice.")
        return cls(top, rest, complete)


Cells = NumericCells | CategoryCells


def cells_from_dict(data: Mapping[str, Any]) -> Cells:
    """Read the stored form of either kind of cells."""
    kind = data.get("kind")
    if kind == "numeric":
        return NumericCells.from_dict(data)
    if kind == "categorical":
        return CategoryCells.from_dict(data)
    raise InvalidInput(f"cells of kind {kind!r}; stored cells are `numeric` or `categorical`.")


def _table(values: Iterable[object] | Mapping[Any, int]) -> Counter[str | None]:
    if not isinstance(values, Mapping):
        # Named before they are counted, since a Counter takes True and 1 for the same key.
        return Counter(map(name_of, values))
    table: Counter[str | None] = Counter()
    for value, rows in values.items():
        table[name_of(value)] += rows
    return table


def name_of(value: object) -> str | None:
    """Return what a value is called as a category; None is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value)
