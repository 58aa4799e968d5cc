"""Small charts as SVG: no script, no fonts; every one has a title, a description and a table."""

import html
from collections.abc import Callable, Sequence
from typing import NamedTuple

from monitors.report.printable import printable


class Scale(NamedTuple):
    """From a value to a place: [low, high] to [start, end], by way of `shape`."""

    low: float
    high: float
    start: float
    end: float
    shape: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        """Return the place; values outside are moved to the nearest end."""
        kept = min(max(value, self.low), self.high)
        low, high = self.shape(self.low), self.shape(self.high)
        part = (self.shape(kept) - low) / (high - low) if high > low else 0.0
        return self.start + part * (self.end - self.start)


def escaped(text: str) -> str:
    """Return words that mean nothing to HTML, in text and in attributes."""
    return html.escape(printable(text), quote=True)


def figure(name: str, title: str, about: str, size: tuple[int, int], marks: Sequence[str]) -> str:
    """Return an image of some marks.

    Parameters
    ----------
    name : str
        Unique on the page; letters, digits and dashes.
    about : str
        What a reader who does not see it should know.
    size : tuple of int
        Width and height in units of the marks.
    """
    width, height = size
    return (
        f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {width} {height}"'
        f' preserveAspectRatio="xMidYMid meet"><title id="{name}-t">{escaped(title)}</title>'
        f'<desc id="{name}-d">{escaped(about)}</desc>{"".join(marks)}</svg>'
    )


def bars(style: str, boxes: Sequence[tuple[float, float, float, float]]) -> str:
    """Return rectangles (left, top, width, height) as one mark; none if all are empty."""
    path = "".join(
        f"M{_place(x)} {_place(y)}h{_place(w)}v{_place(h)}h{_place(-w)}z"
        for x, y, w, h in boxes
        if w > 0.0 and h > 0.0
    )
    return f'<path class="{style}" d="{path}"/>' if path else ""


def line(style: str, points: Sequence[tuple[float, float | None]]) -> str:
    """Return a line through points; it is broken where one has no height, a lone one is a dash."""
    path = ""
    for number, (x, y) in enumerate(points):
        if y is None:
            continue
        before = number > 0 and points[number - 1][1] is not None
        after = number + 1 < len(points) and points[number + 1][1] is not None
        path += f"{'L' if before else 'M'}{_place(x)} {_place(y)}"
        path += "" if before or after else "m-4 0h8"
    return f'<path class="{style}" d="{path}"/>' if path else ""


def rule(style: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a straight line."""
    ends = f"M{_place(start[0])} {_place(start[1])}L{_place(end[0])} {_place(end[1])}"
    return f'<path class="{style}" d="{ends}"/>'


def label(x: float, y: float, text: str, *, style: str = "", anchor: str = "start") -> str:
    """Return words; `anchor` says which end of them lies at `x`: start, middle or end."""
    classes = f' class="{style}"' if style else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_place(x)}" y="{_place(y)}"{where}{classes}>{escaped(text)}</text>'


def cut(text: str, most: int) -> str:
    """Return words, the end of long ones left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
