"""Configuration of the prediction log: section `record`."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_UNITS_D = {"d": 1, "w": 7}


def _days(value: object) -> object:
    if isinstance(value, str) and value[:-1].isdigit() and value[-1:] in _UNITS_D:
        return int(value[:-1]) * _UNITS_D[value[-1]]
    if isinstance(value, str) and not value.isdigit():
        raise ValueError("write days or weeks, such as `30d` or `4w`")
    return value


Days = Annotated[int, BeforeValidator(_days, json_schema_input_type=int | str), Field(ge=1)]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern.encode())  # Bodies are bytes: `\u` and `(?u)` mean nothing there.
    except re.error as error:
        raise ValueError(f"`{pattern}` is not a regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern)]


class Frozen(BaseModel):
    """A strict, immutable section: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RetentionConfig(Frozen):
    """How long text and facts are kept, in days (`30d`, `4w`)."""

    payloads: Days = 30  # bodies of requests and answers
    predictions: Days = 365  # everything else that is known of a request


class RecordConfig(Frozen):
    """What is written to the prediction log, and what happens when it cannot be."""

    payloads: Literal["full", "none"] = "full"  # none: no text reaches the disk
    redact: tuple[
        Pattern, ...
    ] = ()  # regular expressions, replaced in bodies before they are written
    sample: float = Field(1.0, ge=0.0, le=1.0)  # share of predictions whose bodies are kept
    max_payload_bytes: int = Field(262_144, ge=0, le=16_777_216)  # a body is cut there
    durability: Literal["process", "disk"] = "process"  # disk: group fdatasync
    on_full: Literal["fail_open", "fail_closed"] = "fail_open"  # disk full: serve, or 503
    segment_bytes: int = Field(67_108_864, ge=65_536)  # a segment is sealed there
    segment_age_s: float = Field(600.0, gt=0)  # or when it is so old
    retention: RetentionConfig = RetentionConfig()
