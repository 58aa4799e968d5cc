"""Histograms then and now as lines of a terminal."""

from collections.abc import Iterator, Sequence

from monitors.report.parts import Bin
from monitors.report.printable import printable

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_LABEL = 26
_LEAST_BAR = 8
_FIGURES = 8
"""Columns of a share in percent, with a space."""
_NOW, _THEN = "31", "36"


def histogram_lines(
    bins: Sequence[Bin], *, width: int, colour: bool, unicode: bool
) -> Iterator[str]:
    """Yield two lines a cell, then above now: a label, a bar, a share.

    Parameters
    ----------
    width : int
        Columns of the terminal; bars are at least eight wide.
    unicode : bool
        Draw in blocks of an eighth of a column, else in `=` and `#`.
    """
    before = max(1, sum(one.reference for one in bins))
    now = max(1, sum(one.current for one in bins))
    most = max((max(b.reference / before, b.current / now) for b in bins), default=0.0)
    if most <= 0.0:
        return
    label = min(_LABEL, max(len(one.label) for one in bins))
    room = max(_LEAST_BAR, width - label - _FIGURES - 8)
    for one in bins:
        name = _cut(printable(one.label), label, unicode=unicode)
        for title, word, share, sign, code in (
            (name, "then", one.reference / before, "=", _THEN),
            ("", "now ", one.current / now, "#", _NOW),
        ):
            bar = _bar(share / most, room, sign, unicode=unicode)
            painted = f"\x1b[{code}m{bar}\x1b[0m" if colour and bar else bar
            yield f"  {title:<{label}} {word} {share:>6.1%} {painted}".rstrip()


def _bar(part: float, room: int, sign: str, *, unicode: bool) -> str:
    if not unicode:
        return sign * max(round(part * room), 1 if part > 0.0 else 0)
    eighths = max(round(part * room * 8), 1 if part > 0.0 else 0)
    return _FULL * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _cut(text: str, width: int, *, unicode: bool) -> str:
    if len(text) <= width:
        return text
    return text[: width - 1] + ("…" if unicode else ".")
