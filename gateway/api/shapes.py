"""OpenAPI schemas of answers that msgspec encodes."""

from typing import Any

import msgspec

_PREFIX = "#/$defs/"


def schema_of(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct that does not contain itself, without references.

    OpenAPI would look for `$defs` at the top of its own document.
    """
    schema = msgspec.json.schema(type_)
    expanded: dict[str, Any] = _expand(schema, schema.get("$defs", {}))
    expanded.pop("$defs", None)
    return expanded


def answer_of(type_: type[msgspec.Struct], description: str) -> dict[str, Any]:
    """Return the documentation of an answer for FastAPI's `responses`."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema_of(type_)}},
    }


def _expand(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_expand(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return _expand(definitions[reference.removeprefix(_PREFIX)], definitions)
    return {key: _expand(item, definitions) for key, item in value.items() if key != "$defs"}
