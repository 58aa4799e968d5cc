"""The report for people: tables of words and numbers; colour only repeats what words say."""

from monitors.report.model import Report
from monitors.report.section import LEFT, SENTENCES
from monitors.report.sections import sections_of
from monitors.report.tables import Cell, Column, folded, table_lines

_STYLES = {
    "ok": "green",
    "resolved": "green",
    "warning": "yellow",
    "stale": "yellow",
    "drift": "red",
    "breach": "red",
    "open": "red",
    "critical": "red",
}


def render_text(report: Report, *, width: int = 120, colour: bool = False) -> str:
    """Return the report as tables.

    Parameters
    ----------
    width : int
        Columns of the terminal; sentences are folded, words and numbers stay whole.
    colour : bool
        Write ANSI colours.
    """
    found = sections_of(report)
    lines = [*folded(found.head, width), ""]
    for table in found.tables:
        columns = [Column(n, left=n in LEFT, sentence=n in SENTENCES) for n in table.columns]
        rows = [[Cell(text, _colour(text)) for text in row] for row in table.rows]
        lines += table_lines(table.title, columns, rows, width=width, colour=colour)
        lines += [""] if rows else []
        lines += [line for text in table.says for line in folded(text, width)]
        lines += [""] if table.says else []
    for text in (*found.quality, *(f"note: {note}" for note in found.notes)):
        lines += folded(text, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _colour(text: str) -> str:
    return _STYLES.get(text.partition(",")[0], "")
