"""Rows of any query as text."""

import csv
import io
from collections.abc import Sequence

import msgspec

from monitors.report.printable import printable

_CELL_CHARS = 60


def csv_text(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return CSV with a line of names; unknown is empty, lists and structs are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow("" if value is None else _plain(value) for value in row)
    return text.getvalue()


def table_text(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return columns for a terminal: long values are cut, lines of a single value are kept."""
    if len(names) == 2 and names[0].startswith("explain"):
        return "".join(_lines(str(row[1])) for row in rows)
    cells = [list(map(printable, names)), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _lines(text: str) -> str:
    return "".join(f"{printable(line)}\n" for line in text.splitlines())


def _cell(value: object) -> str:
    text = "-" if value is None else printable(_plain(value))
    return text if len(text) <= _CELL_CHARS else text[: _CELL_CHARS - 1] + "…"


def _plain(value: object) -> str:
    if isinstance(value, bool | list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)
