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

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]i?)?B", re.ASCII)
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_PREFIXES = {"ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_size_bytes(text: str) -> int:
    """Return the bytes of a size such as `20GB`, `1.5 TB` or `512MiB`.

    Raises
    ------
    ValueError
        The text is not a number with a unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is not a size; write such as `500MB`, `20GB` or `64GiB`")
    return round(float(match[1]) * (_PREFIXES | _BINARY_PREFIXES)[match[2] or ""])


def _size(value: object) -> object:
    return parse_size_bytes(value) if isinstance(value, str) else value


SizeBytes = Annotated[int, BeforeValidator(_size, json_schema_input_type=int | str)]
"""An integer of bytes, written as a number or as a size."""


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
    """How long text, facts and roll-ups are kept (`30d`, `4w`), and how large they may get."""

    payloads: Days = 30  # bodies of requests and answers
    predictions: Days = 365  # everything else that is known of a request
    rollups: Days = 1825  # counts by hour: what reports of older periods are made of
    payloads_size: Annotated[SizeBytes, Field(ge=1_048_576)] | None = None  # then the oldest goes
    total_size: Annotated[SizeBytes, Field(ge=16_777_216)] | None = None  # oldest text, then facts


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
    spool_bytes: Annotated[SizeBytes, Field(ge=1_048_576)] | None = 2**33  # not ingested: on_full
    segment_bytes: int = Field(67_108_864, ge=65_536)  # a segment is sealed there
    segment_age_s: float = Field(600.0, gt=0)  # or when it is so old
    retention: RetentionConfig = RetentionConfig()
