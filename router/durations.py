"""Durations of configuration files: numbers of seconds, or text as `duration_text` reads it."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from router.duration_text import parse_duration_s


def _seconds(value: object) -> object:
    return parse_duration_s(value) if isinstance(value, str) else value


DurationSeconds = Annotated[
    float, BeforeValidator(_seconds, json_schema_input_type=float | str), Field(gt=0)
]
"""A float of seconds, written as a number or as a duration."""
