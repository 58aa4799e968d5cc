"""Tables for a terminal: names and numbers stay whole, sentences are folded, colour is optional."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from monitors.report.printable import printable

_COLOURS = {"green": "32", "red": "31", "yellow": "33"}
_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_GAP = "  "
_JOINED = "\N{NO-BREAK SPACE}"
_LEAST = 20
"""Columns that a sentence gets however narrow the terminal is."""


class Column(NamedTuple):
    """How a column is shown: numbers to the right; sentences are folded."""

    name: str
    left: bool = False
    sentence: bool = False


class Cell(NamedTuple):
    """Words, and the name of a colour; empty is none."""

    text: str
    colour: str = ""


def table_lines(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    width: int,
    colour: bool,
) -> Iterator[str]:
    """Yield the lines of a table; one that is too wide runs over the edge, nothing is lost."""
    yield _painted(title, "1", colour=colour)
    yield ""
    if not rows:
        return
    shown = [[Cell(printable(cell.text), cell.colour) for cell in row] for row in rows]
    widths = _widths(columns, shown, width)
    heads = [textwrap.wrap(_heading(c), w) for c, w in zip(columns, widths, strict=True)]
    height = max(map(len, heads))
    for line in range(height):
        # Headings stand on the rule.
        words = [
            head[line - height + len(head)] if line >= height - len(head) else "" for head in heads
        ]
        yield _line([Cell(word) for word in words], columns, widths, colour=False).replace(
            _JOINED, " "
        )
    yield " " + _RULE * (sum(widths) + len(_GAP) * (len(widths) - 1))
    for row in shown:
        yield from _row_lines(row, columns, widths, colour=colour)


def folded(text: str, width: int) -> Iterator[str]:
    """Yield a sentence in lines of at most `width` columns; words stay whole."""
    yield from textwrap.wrap(
        printable(text), max(1, width), break_long_words=False, break_on_hyphens=False
    ) or [""]


def _heading(column: Column) -> str:
    # A number and its sign stay on one line.
    return column.name.replace(" %", f"{_JOINED}%")


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[int]:
    widths = []
    for place, column in enumerate(columns):
        cells = () if column.sentence else [_columns_of(row[place].text) for row in rows]
        widths.append(max(*map(len, _heading(column).split(" ")), 0, *cells))
    taken = sum(widths) + len(_GAP) * len(widths)
    return [
        max(found, width - taken + found, _LEAST) if column.sentence else found
        for column, found in zip(columns, widths, strict=True)
    ]


def _row_lines(
    row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], *, colour: bool
) -> Iterator[str]:
    parts = [
        list(folded(cell.text, wide)) if column.sentence else [cell.text]
        for cell, column, wide in zip(row, columns, widths, strict=True)
    ]
    for line in range(max(map(len, parts))):
        cells = [
            Cell(part[line] if line < len(part) else "", cell.colour)
            for part, cell in zip(parts, row, strict=True)
        ]
        yield _line(cells, columns, widths, colour=colour)


def _line(
    cells: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], *, colour: bool
) -> str:
    shown = []
    for cell, column, wide in zip(cells, columns, widths, strict=True):
        space = " " * max(0, wide - _columns_of(cell.text))
        text = _painted(cell.text, _COLOURS.get(cell.colour, ""), colour=colour)
        shown.append(text + space if column.left else space + text)
    return " " + _GAP.join(shown)


def _painted(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


def _columns_of(text: str) -> int:
    """Columns of a terminal that a text fills: wide signs two, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(1 for sign in text if east_asian_width(sign) in {"W", "F"})
    return len(text) + wide - sum(1 for sign in text if combining(sign))
