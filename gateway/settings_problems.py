"""Says what is wrong with a configuration: key path, value, way out, in one sentence each."""

import difflib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.config import Settings

_SECRETS = {"api_key", "secret", "admin_key", "sha256", "headers", "proxy"}
_VALUE_CHARS = 60
_MAPPING = "must be a mapping, `key: value` a line"
# What pydantic says in its own words, in the words of a configuration file.
_SENTENCES = {
    "missing": "is missing; it must be given",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than_equal": "must be {le:g} or less",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be `true` or `false`",
    "bool_type": "must be `true` or `false`",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must match `{pattern}`",
    "literal_error": "must be {expected}",
    "too_short": "must name at least one",
}
# Told without the value: it may hold anything, secrets too.
_CONTAINERS = {
    "model_type": _MAPPING,
    "dict_type": _MAPPING,
    "tuple_type": "must be a list, `- item` a line",
}


def describe(error: ValidationError) -> list[str]:
    """Return one sentence for each problem that pydantic found."""
    return [_sentence(detail) for detail in error.errors(include_url=False)]


def _sentence(detail: Mapping[str, Any]) -> str:
    loc, kind, value = detail["loc"], detail["type"], detail["input"]
    path = _path(loc)
    if kind == "extra_forbidden":
        return _unknown_key(loc)
    if kind in _CONTAINERS:
        return f"`{path}` {_CONTAINERS[kind]}"
    if kind in {"missing", "too_short"}:
        return f"`{path}` {_SENTENCES[kind]}"
    message = detail["msg"].removeprefix("Value error, ")
    if kind in _SENTENCES:
        message = _SENTENCES[kind].format(**detail.get("ctx", {})).replace("'", "`")
    if not loc or isinstance(value, dict | list | BaseModel):
        return f"`{path}`: {message}" if path else message
    return f"`{path}` is `{_shown(loc, value)}`: {message[0].lower()}{message[1:]}"


def _unknown_key(loc: tuple[int | str, ...]) -> str:
    valid = _valid_keys(loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else "remove it."
    return f"`{_path(loc)}` is not a key here; {hint} Valid keys: {', '.join(valid)}"


def _valid_keys(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in loc:
        model = _step(model, part)
    if isinstance(model, type) and issubclass(model, BaseModel):
        fields = model.model_fields.items()
        return sorted(
            field.alias or name for name, field in fields if name != "name" or model_is_named(model)
        )
    return []


def model_is_named(model: type[BaseModel]) -> bool:
    """Say whether `name` is the user's to write (elsewhere it is taken from the key)."""
    return model.model_fields["name"].is_required()


def _step(model: Any, part: int | str) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            if part in {name, field.alias}:
                return _inner(field.annotation)
        return None
    arguments = typing.get_args(model)
    return _inner(arguments[1] if len(arguments) > 1 and isinstance(part, str) else arguments[0])


def _inner(annotation: Any) -> Any:
    """Return a model or container, seen through `X | None`."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(loc: tuple[int | str, ...], value: object) -> str:
    if any(part in _SECRETS for part in loc):
        return "<secret>"
    text = str(value)
    if "://" in text:
        # Credentials stand before the host, or in the query, and paths of receivers are secret.
        scheme, _, rest = text.partition("://")
        host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        text = f"{scheme}://{host}" + ("/…" if host != rest else "")
    return text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + "…"
