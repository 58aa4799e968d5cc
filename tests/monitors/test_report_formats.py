import csv
import io
import re
from html.parser import HTMLParser

import msgspec
import pytest
from support.full_report import full_report

from monitors.report.as_csv import COLUMNS, render_csv
from monitors.report.as_json import decode_report, encode_report
from monitors.report.markdown import escaped, render_markdown
from monitors.report.overview import states_of
from monitors.report.page import render_html
from monitors.report.sections import sections_of
from monitors.report.style import STYLE
from monitors.report.svg import escaped as html_escaped
from monitors.report.text import render_text
from monitors.report.words import large

HOSTILE = "<script>alert(1)</script>\"'&`|[x](javascript:1)\n=1+1"
VOID = {"meta", "br", "path"}


class Page(HTMLParser):
    """What a browser would see: tags in balance, ids, words, pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag without content."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note words."""
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    """Return the page of a report with every part."""
    return Page(render_html(full_report()))


def test_every_cell_of_a_table_is_in_every_format() -> None:
    """Numbers read the same in a terminal, in Markdown and in HTML."""
    report = full_report()
    found = sections_of(report)
    html, markdown, text = render_html(report), render_markdown(report), render_text(report)
    said = [*found.quality, *found.notes, *(s for table in found.tables for s in table.says)]
    cells = {cell for table in found.tables for row in table.rows for cell in row}
    assert len(cells) > 120
    assert all(html_escaped(words) in html for words in (*cells, *said))
    assert all(escaped(words) in markdown for words in (*cells, *said))
    assert all(words in text for words in cells)


def test_every_part_of_a_report_has_a_table() -> None:
    """Whatever JSON holds a list of, people can read; losses stand among the lines."""
    report = full_report()
    keys = {table.key for table in sections_of(report).tables}
    lists = {name for name in report.__struct_fields__ if isinstance(getattr(report, name), tuple)}
    assert lists - {"routes", "notes"} <= keys


def test_every_number_of_json_is_in_the_csv() -> None:
    """One long table holds them all, to the last digit."""
    report = full_report()
    lines = list(csv.reader(io.StringIO(render_csv(report))))
    assert tuple(lines[0]) == COLUMNS
    assert {len(line) for line in lines} == {len(COLUMNS)}
    known = {word for line in lines[1:] for word in line}
    numbers = set(_numbers(msgspec.json.decode(encode_report(report))))
    assert len(numbers) > 300
    assert numbers <= known


def _numbers(value: object) -> list[str]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in _numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return [str(value)] if is_number else []


def test_a_value_stands_with_its_interval() -> None:
    """In one line of the CSV, with its rows and the feature's name."""
    lines = csv.DictReader(io.StringIO(render_csv(full_report())))
    (line,) = [
        line
        for line in lines
        if (line["section"], line["subject"], line["metric"]) == ("drift", "ttft_s", "value")
    ]
    assert (line["route"], line["n"]) == ("chat", "44077")
    assert float(line["low"]) < float(line["value"]) < float(line["high"])


def test_no_formula_reaches_a_spreadsheet() -> None:
    """A stranger's word that begins like one gets an apostrophe; negative numbers do not."""
    lines = list(csv.DictReader(io.StringIO(render_csv(full_report(category="=cmd()")))))
    assert not any(line["value"].startswith("=") for line in lines)
    assert any(line["low"].startswith("-0.06") for line in lines)


def test_strangers_words_are_no_markup() -> None:
    """Categories, causes and summaries are escaped wherever they stand."""
    report = full_report(12, category=HOSTILE)
    page = Page(render_html(report))
    assert not page.open
    assert not page.all("script")
    calm = Page(render_html(full_report(12)))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags]
    markdown = render_markdown(report)
    assert "<script" not in markdown
    assert "[x](" not in markdown
    assert "\x1b" not in render_text(full_report(category="\x1b[2J"), colour=False)


def test_the_page_needs_nothing_else(page: Page) -> None:
    """No script, nothing fetched: links stay on the page."""
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert all((a["href"] or "").startswith("#") for a in page.all("a"))
    assert all("src" not in attributes and "style" not in attributes for _, attributes in page.tags)
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_links_and_descriptions_have_their_ends(page: Page) -> None:
    """Every link and every `aria-labelledby` names an id of the page, and ids are unique."""
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [(a["href"] or "")[1:] for a in page.all("a")]
    for _, attributes in page.tags:
        named += (attributes.get("aria-labelledby") or "").split()
    assert set(named) <= set(ids)


def test_every_picture_is_told_in_words(page: Page) -> None:
    """A title, a description, and for every chart a table; the document says its language."""
    pictures = page.all("svg")
    assert len(pictures) > 10
    assert all(one["role"] == "img" for one in pictures)
    assert len(page.all("title")) == len(pictures) + 1
    assert len(page.all("desc")) == len(pictures)
    assert page.all("html") == [{"lang": "en"}]
    tables = len(page.all("caption"))
    sparks = sum(1 for one in pictures if (one["aria-labelledby"] or "").startswith("spark"))
    assert tables == len(sections_of(full_report()).tables) + len(pictures) - sparks


def test_a_page_of_25_features_is_small() -> None:
    """Below 300 kB, as a mail takes it."""
    assert len(render_html(full_report(25)).encode()) < 300_000


def test_words_stand_out_from_their_ground() -> None:
    """Contrast of at least 4.5 for every colour of words, light and dark (WCAG 2.2, 1.4.3)."""
    schemes = re.findall(r"--page:(\S+?);--card:(\S+?);(.*?)}", STYLE)
    assert len(schemes) == 3
    for page, card, rest in schemes:
        colours = dict(re.findall(r"--(\w+):(#\w+)", rest))
        for name in ("text", "soft", "now", "good", "warn", "bad"):
            for ground in (page, card):
                assert _contrast(colours[name], ground) >= 4.5, (name, ground)


def _contrast(one: str, other: str) -> float:
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(sign * 2 for sign in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_report_of_nothing_is_a_page_too() -> None:
    """An empty interval has a page, a Markdown text and a table."""
    empty = full_report(0)
    blank = {
        name: None if name == "timeline" else ()
        for name in empty.__struct_fields__
        if isinstance(getattr(empty, name), tuple) or name == "timeline"
    }
    report = msgspec.structs.replace(empty, requests=0, **{**blank, "notes": ("send traffic",)})
    for render in (render_html, render_markdown, render_text, render_csv):
        assert "send traffic" in render(report)


def test_many_checks_are_cut_behind_the_breaches() -> None:
    """Breaches come first and are all shown; how many others there are is said."""
    (one,) = full_report().quality
    fine = msgspec.structs.replace(one, verdict="ok", severity="none")
    checks = (*[one] * 30, *[fine] * 40)
    report = msgspec.structs.replace(full_report(), quality=checks, spend=(fine,) * 30)
    tables = {table.key: table for table in sections_of(report).tables}
    assert [len(tables[key].rows) for key in ("quality", "spend")] == [30, 25]
    assert tables["quality"].says == ("40 more were looked at; none is in breach.",)
    assert tables["spend"].says == ("5 more were looked at; none is in breach.",)


def test_json_holds_every_part() -> None:
    """What a server sends is what a client renders."""
    report = full_report()
    assert decode_report(encode_report(report)) == report


def test_hours_that_cannot_be_judged_yet_are_said_once() -> None:
    """A new user reads one sentence on what it takes, and no row of dashes; JSON has all."""
    (one,) = full_report().spend
    unknown = msgspec.structs.replace(one, verdict="not_enough_data", severity="none", value=None)
    checks = [
        msgspec.structs.replace(unknown, route=route, subject=subject)
        for route in ("chat", "code")
        for subject in ("cost_usd", "requests")
    ]
    report = msgspec.structs.replace(full_report(), spend=tuple(checks))
    (spend,) = (table for table in sections_of(report).tables if table.key == "spend")
    (sentence,) = spend.says
    assert sentence.startswith("chat, code: not enough data")
    assert "cost_usd, requests" in sentence
    assert spend.rows == ()
    for render in (render_markdown, render_text, render_html):
        assert "not enough data to say whether the last hour was usual" in render(report)
    (state,) = (s for s in states_of(report) if s.sentence.startswith("spend"))
    assert (state.word, state.style) == ("unknown", "warn")


def test_a_look_at_nothing_is_no_row() -> None:
    """Inputs that no model has are not reported as good; a breach always is."""
    (one,) = full_report().quality
    idle = msgspec.structs.replace(one, verdict="ok", severity="none", n=0)
    breach = msgspec.structs.replace(one, verdict="breach", n=0)
    report = msgspec.structs.replace(full_report(), quality=(breach, idle))
    (quality,) = (table for table in sections_of(report).tables if table.key == "quality")
    assert len(quality.rows) == 1
    report = msgspec.structs.replace(report, quality=(idle,))
    assert all(table.key != "quality" for table in sections_of(report).tables)


def test_what_drifted_stands_above_what_did_not() -> None:
    """Of many features the reader sees first what moved; one cause is said once."""
    found = full_report().drift[0]
    calm = msgspec.structs.replace(found, verdict="ok", severity="none")
    moved = msgspec.structs.replace(found, verdict="drift", cause="the median moved")
    other = msgspec.structs.replace(moved, feature="latency_s")
    report = msgspec.structs.replace(full_report(), drift=(calm, moved, other))
    (drift,) = (table for table in sections_of(report).tables if table.key == "drift")
    place = drift.columns.index("verdict")
    assert [row[place].partition(",")[0] for row in drift.rows] == ["drift", "drift", "ok"]
    assert drift.says == (
        f"{moved.route}/{moved.feature}, {moved.route}/latency_s: the median moved",
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "-"), (99_999_999, "99,999,999"), (1_700_431_728, "1,700.4 M")],
)
def test_large_figures_fit_their_tile(value: float | None, words: str) -> None:
    """Ten digits and their commas would run into the tile beside them."""
    assert large(value) == words


def test_what_a_route_never_has_is_not_called_unknown() -> None:
    """A predictive model counts no tokens: those of other routes that are unknown are told."""
    report = full_report()
    first, *others = (row for row in report.traffic if row.role == "primary")
    lacking = msgspec.structs.replace(first, n=10, tokens_known=7, cost_known=0)
    never = [msgspec.structs.replace(row, tokens_known=0, cost_known=0) for row in others]
    report = msgspec.structs.replace(report, traffic=(lacking, *never))
    line = sections_of(report).quality[0]
    assert "; 3 without token counts; 0 without a cost" in line


def test_a_file_has_no_period() -> None:
    """Its rows came with no times, so that none are shown for them."""
    (one, *_) = full_report().baselines
    file = msgspec.structs.replace(one, source="file, file train.csv")
    report = msgspec.structs.replace(full_report(), baselines=(file,))
    (table,) = (table for table in sections_of(report).tables if table.key == "baselines")
    assert table.rows[0][table.columns.index("rows from")] == "-"
