"""What a model is asked with, as typed fields: how a schema begins, grows and is bounded.

A schema only grows. A feature that comes as whole numbers and then as others is widened from
BIGINT to DOUBLE; one that comes as number and as text has a field for each.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

FIELDS = 1_000
"""Fields of a model; further ones are not kept."""
VERSIONS = 32
"""Versions of a model's schema; what would need another one is not kept."""
MODELS = 100
"""Models with a schema; clients choose names, and some servers take any."""
NAME_CHARS = 128
TEXT_CHARS = 256
"""Longer texts are cut: they are words of a category, not documents."""

WHOLE, NUMBER, FLAG, TEXT = "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"
_KINDS: Mapping[str, str] = {WHOLE: NUMBER, NUMBER: NUMBER, FLAG: FLAG, TEXT: TEXT}
_SLUG_CHARS = 40
_NO_SLUG = re.compile(r"[^a-z0-9]+")
_NO_FIELD = re.compile(r"[^A-Za-z0-9_]")

Found = Mapping[str, Collection[str]]
"""Feature to the types that its values have; in the order in which they were met."""


class Field(NamedTuple):
    """A feature of one kind.

    Attributes
    ----------
    name : str
        As requests have it.
    type : str
        `BIGINT`, `DOUBLE`, `BOOLEAN` or `VARCHAR`.
    field : str
        Its name in the STRUCT: letters, digits and `_`, unique without regard to case.
    """

    name: str
    type: str
    field: str

    @property
    def kind(self) -> str:
        """What tells it from other fields of the same name: whole numbers are numbers."""
        return _KINDS[self.type]

    @property
    def path(self) -> str:
        """The field as an SQL expression."""
        return f'features."{self.field}"'


class Schema(NamedTuple):
    """One version of what a model is asked with, and the table of its rows."""

    model: str
    version: int
    table: str
    fields: tuple[Field, ...]

    @property
    def slug(self) -> str:
        """The model as part of a table's name."""
        return self.table.removeprefix("features_").rpartition("_")[0]

    @property
    def view(self) -> str:
        """The view over all versions."""
        return f"inputs_{self.slug}"

    @property
    def struct(self) -> str:
        """The type of the column `features`."""
        listed = ", ".join(f'"{field.field}" {field.type}' for field in self.fields)
        return f"STRUCT({listed})"

    def named(self, name: str) -> dict[str, Field]:
        """Return the fields of a feature by kind."""
        return {field.kind: field for field in self.fields if field.name == name}


def table_name(slug: str, version: int) -> str:
    """Return the name of a version's table."""
    return f"features_{slug}_{version}"


def slug_of(model: str, taken: Collection[str]) -> str:
    """Return a model's name as part of a table's name; no two models share one."""
    slug = _NO_SLUG.sub("_", model.lower()).strip("_")[:_SLUG_CHARS].strip("_") or "model"
    return _unused(slug, taken)


def is_name(name: str) -> bool:
    """Say whether a feature or a model of this name is kept."""
    return 0 < len(name) <= NAME_CHARS and name.isprintable()


def grown(known: Sequence[Field], found: Found, *, last: bool = False) -> tuple[Field, ...]:
    """Return fields that take what was found, as far as there is room.

    Parameters
    ----------
    last : bool
        No version follows: numbers are DOUBLE, so that none needs another one.
    """
    fields = {(field.name, field.kind): field for field in known}
    taken = {field.field.lower() for field in known}
    for name, type_ in _pairs(found):
        key = name, _KINDS[type_]
        before = fields.get(key)
        if before is not None:
            if before.type == WHOLE and type_ == NUMBER:
                fields[key] = before._replace(type=NUMBER)
        elif len(fields) < FIELDS and is_name(name):
            place = _field_of(name, taken)
            taken.add(place.lower())
            fields[key] = Field(name, type_, place)
    if last:
        return tuple(f._replace(type=f.kind) for f in fields.values())
    return tuple(fields.values())


def left_out(fields: Sequence[Field], found: Found) -> set[tuple[str, str]]:
    """Return the (name, kind) of what was found and no field takes whole."""
    types = {(field.name, field.kind): field.type for field in fields}
    return {
        (name, _KINDS[type_])
        for name, type_ in _pairs(found)
        if types.get((name, _KINDS[type_])) not in {type_, _KINDS[type_]}
    }


def _pairs(found: Found) -> Iterator[tuple[str, str]]:
    for name, types in found.items():
        # In one order, whatever the order of the set.
        yield from ((name, type_) for type_ in sorted(types))


def _field_of(name: str, taken: Collection[str]) -> str:
    field = _NO_FIELD.sub("_", name)
    return _unused(field if not field[0].isdigit() else f"_{field}", taken)


def _unused(name: str, taken: Collection[str]) -> str:
    found, number = name, 1
    while found.lower() in taken:
        number += 1
        found = f"{name}_{number}"
    return found
