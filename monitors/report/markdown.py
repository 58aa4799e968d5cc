"""The report as Markdown, with tables as GitHub, GitLab and most chat programs show them."""

from collections.abc import Iterator

from monitors.report.model import Report
from monitors.report.printable import printable
from monitors.report.section import LEFT, Section
from monitors.report.sections import sections_of

_MARKS = str.maketrans(
    {sign: f"\\{sign}" for sign in "\\`*_{}[]#|~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def render_markdown(report: Report) -> str:
    """Return the report; strangers' words are escaped, so that they are no markup."""
    found = sections_of(report)
    lines = ["# " + escaped(found.head), ""]
    for table in found.tables:
        lines += [*_lines(table), ""]
    lines += ["## Data quality", ""]
    lines += [f"- {escaped(text)}" for text in found.quality]
    if found.notes:
        lines += ["", "## Notes", "", *(f"- {escaped(note)}" for note in found.notes)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return words on one line that Markdown shows as they are."""
    return printable(text).translate(_MARKS)


def _lines(table: Section) -> Iterator[str]:
    yield f"## {escaped(table.title)}"
    yield ""
    if table.rows:
        yield f"| {' | '.join(map(escaped, table.columns))} |"
        yield f"| {' | '.join(':---' if name in LEFT else '---:' for name in table.columns)} |"
        for row in table.rows:
            yield f"| {' | '.join(map(escaped, row))} |"
    if table.says:
        yield from ("",) if table.rows else ()
        yield from (f"- {escaped(text)}" for text in table.says)
