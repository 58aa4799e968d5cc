"""Predictions as lines for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.cli.since import iso
from monitors.report.printable import printable

_NAMES = (
    "started (UTC)", "status", "route", "variant", "upstream", "model", "latency", "first token",
    "tokens", "reason", "id",
)  # fmt: skip
_LINE_BREAKS = str.maketrans({"\r": None, "\t": "    "})
_APART = ("attempt_list", "payload", "feedback")
_TIMES = ("started_at", "given_at")


class LogTable:
    """A table that grows downwards: columns only ever get wider."""

    def __init__(self) -> None:
        self._widths = [0] * len(_NAMES)

    def lines(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """Yield a line a prediction, with its text below it where the row has it."""
        cells = [_cells(row) for row in rows]
        first = not any(self._widths) and bool(rows)
        for line in [_NAMES, *cells] if first else cells:
            self._widths = [
                max(width, len(cell)) for width, cell in zip(self._widths, line, strict=True)
            ]
        if first:
            yield self._line(_NAMES)
        for row, line in zip(rows, cells, strict=True):
            yield self._line(line)
            yield from _text_lines(row.get("payload"))

    def _line(self, cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        return "  ".join(padded).rstrip()


def record_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield a prediction whole: every known fact, its tries, feedback and text."""
    for name, value in record.items():
        if name not in _APART and value is not None:
            yield f"{name:<26}{_shown(name, value)}"
    for attempt in record["attempt_list"]:
        yield "attempt  " + _pairs(attempt)
    for feedback in record["feedback"]:
        yield "feedback  " + _pairs(feedback)
    yield from _text_lines(record["payload"])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    model = row["model_answered"] or row["model_asked"]
    tokens = f"{_number(row['prompt_tokens'])}>{_number(row['response_tokens'])}"
    words = (row["route"], row["variant"], row["upstream"] or "-", model)
    return (
        iso(row["started_at"] // 1000 * 1000).replace("000Z", "Z"),
        str(row["status"]),
        *(printable(word) for word in words),
        _seconds(row["latency_s"]),
        _seconds(row["ttft_s"]),
        tokens,
        printable(row["reason"] or "-"),
        row["id"],
    )


def _text_lines(payload: Mapping[str, Any] | None) -> Iterator[str]:
    for part in ("request", "response") if payload is not None else ():
        assert payload is not None
        cut = " (cut)" if payload[f"{part}_truncated"] else ""
        yield f"  {part}{cut}:"
        for line in payload[part].translate(_LINE_BREAKS).split("\n"):
            yield f"    {printable(line)}"


def _pairs(values: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{name}={_shown(name, value)}" for name, value in values.items() if value is not None
    )


def _shown(name: str, value: object) -> str:
    if name in _TIMES and isinstance(value, int):
        return iso(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(printable(str(one)) for one in value) or "-"
    return printable(str(value))


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"
