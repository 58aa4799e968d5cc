"""The report as one HTML file: no script, nothing fetched, charts with tables that say the same."""

from collections.abc import Iterator, Sequence

from monitors.report import words
from monitors.report.charts import (
    Axis,
    Chart,
    axis_of,
    distance_chart,
    histogram_chart,
    latency_chart,
    spark,
    traffic_chart,
)
from monitors.report.model import Finding, Report, RouteTotal
from monitors.report.overview import State, states_of, tiles_of
from monitors.report.section import LEFT, SENTENCES, Section
from monitors.report.sections import sections_of
from monitors.report.style import STYLE
from monitors.report.svg import escaped
from monitors.windows import Window

MOST_ROUTES = 12
"""Routes that get a card; the tables have all."""
MOST_LATENCIES = 4
"""Routes whose latency is drawn."""
MOST_HISTOGRAMS = 32
"""Features that are drawn, those that drifted first."""
_BADGES = frozenset({"verdict", "severity", "state"})
_GOOD = frozenset({"ok", "resolved"})
_BAD = frozenset({"drift, critical", "breach, critical", "critical", "drift", "breach", "open"})
_PLAIN = frozenset({"higher", "lower", "no difference seen", "not enough data"})


def render_html(report: Report) -> str:
    """Return a whole document; every word of the log is escaped."""
    found = sections_of(report)
    title = escaped(f"driftgate report, {words.period(report.interval)}")
    body = "".join(_main(report, found.tables, found.quality, found.notes))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>"
        f'<a class="skip" href="#main">Skip to the figures</a>{_header(report, found.tables)}'
        f'\n<main id="main">{body}</main>\n'
        f"<footer><p>Made by driftgate at {words.moment(report.generated_at)}. Times are UTC;"
        " intervals are 95 % unless they say otherwise.</p></footer></body></html>\n"
    )


def _header(report: Report, tables: Sequence[Section]) -> str:
    narrowed = [
        f"{name} <strong>{escaped(value)}</strong>"
        for name, value in (("route", report.route), ("model", report.model))
        if value is not None
    ]
    scope = ", ".join(narrowed) or "all routes"
    links = "".join(f'<li><a href="#{t.key}">{escaped(t.title)}</a></li>' for t in tables)
    return (
        '<header><p class="brand">driftgate</p><h1>What the models did</h1>'
        f'<p class="soft">{words.period(report.interval)}, {scope}</p>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>'
    )


def _main(
    report: Report, tables: Sequence[Section], quality: Sequence[str], notes: Sequence[str]
) -> Iterator[str]:
    window = Window(report.interval.from_us, report.interval.to_us)
    axis = None if report.timeline is None else axis_of(report.timeline, window)
    yield _summary(report, axis)
    for table in tables:
        yield _card(table.key, table.title, _drawn(report, table.key, axis) + _table(table))
    yield _card("data-quality", "How far the numbers can be trusted", _list((*quality, *notes)))


def _summary(report: Report, axis: Axis | None) -> str:
    states = "".join(
        f"<li>{_badge(state)} {escaped(state.sentence)}</li>" for state in states_of(report)
    )
    tiles = "".join(
        f"<div><dt>{escaped(t.name)}</dt><dd>{escaped(t.figure)}<small>{escaped(t.more)}</small>"
        "</dd></div>"
        for t in tiles_of(report)
    )
    routes = sorted(report.routes, key=lambda row: -row.n)[:MOST_ROUTES]
    cards = "".join(_route(report, row, axis, n) for n, row in enumerate(routes))
    more = f'<h3>Routes</h3><div class="routes">{cards}</div>' if cards else ""
    body = f'<ul class="state">{states}</ul><dl class="tiles">{tiles}</dl>{more}'
    return _card("summary", "At a glance", body)


def _badge(state: State) -> str:
    return f'<span class="badge {state.style}">{escaped(state.word)}</span>'


def _route(report: Report, row: RouteTotal, axis: Axis | None, number: int) -> str:
    steps = () if report.timeline is None else report.timeline.steps
    drawn = "" if axis is None else spark(f"spark-{number}", row.route, steps, axis)
    return (
        f"<article><h3>{escaped(row.route)}</h3>{drawn}"
        f"<p>{words.number(row.n)} requests, {words.share(row.error_share)} errors<br>"
        f'<span class="soft">p50 {words.seconds(row.latency_p50_s)}, p95'
        f" {words.seconds(row.latency_p95_s)}</span></p></article>"
    )


def _drawn(report: Report, key: str, axis: Axis | None) -> str:
    """Return the charts of a section."""
    if key == "drift":
        return _drift(report.drift)
    if axis is None or report.timeline is None:
        return ""
    steps = report.timeline.steps
    if key == "traffic":
        return _figure(traffic_chart(steps, axis), wide=True)
    if key != "latency":
        return ""
    largest = sorted(report.routes, key=lambda row: -row.n)[:MOST_LATENCIES]
    charts = [
        latency_chart(f"latency-{n}", row.route, steps, axis) for n, row in enumerate(largest)
    ]
    return "".join(_figure(chart, wide=True) for chart in charts)


def _drift(drift: Sequence[Finding]) -> str:
    ordered = sorted((f for f in drift if f.histogram), key=lambda f: f.verdict != "drift")
    shown = [
        (f.verdict == "drift", _figure(histogram_chart(f"cells-{n}", f), wide=False))
        for n, f in enumerate(ordered[:MOST_HISTOGRAMS])
    ]
    moved = "".join(figure for drifted, figure in shown if drifted)
    calm = "".join(figure for drifted, figure in shown if not drifted)
    parts = [_figure(distance_chart(drift), wide=True)] if any(f.value for f in drift) else []
    if moved:
        parts.append(f'<h3>What drifted, then and now</h3><div class="pairs">{moved}</div>')
    if calm:
        parts.append(
            "<details><summary>Histograms of features without drift</summary>"
            f'<div class="pairs">{calm}</div></details>'
        )
    return "".join(parts)


def _figure(chart: Chart, *, wide: bool) -> str:
    keys = "".join(
        f'<span class="key"><i class="{style}" aria-hidden="true"></i>{escaped(text)}</span>'
        for style, text in chart.legend
    )
    table = _rows(chart.caption, chart.columns, chart.rows)
    scroll = ' class="scroll wide" tabindex="0" role="group" aria-label="Chart"' if wide else ""
    return (
        f"<figure><figcaption>{escaped(chart.caption)}<br>{keys}</figcaption>"
        f"<div{scroll}>{chart.image}</div>"
        f"<details><summary>The same as a table</summary>{table}</details></figure>"
    )


def _card(key: str, title: str, body: str) -> str:
    return (
        f'\n<section class="card" id="{key}" aria-labelledby="{key}-h">'
        f'<h2 id="{key}-h">{escaped(title)}</h2>{body}</section>'
    )


def _table(table: Section) -> str:
    rows = _rows(table.title, table.columns, table.rows) if table.rows else ""
    return rows + _list(table.says)


def _rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(
        f'<th scope="col"{_side(name, place)}>{escaped(name)}</th>'
        for place, name in enumerate(columns)
    )
    body = "".join(
        "<tr>" + "".join(_cell(columns[p], text, p) for p, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    # On a phone the rows of such a table become lists: a sentence has no room beside numbers.
    style = ' class="told"' if SENTENCES.intersection(columns) else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escaped(title)}">'
        f"<table{style}><caption>{escaped(title)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _side(name: str, place: int) -> str:
    return ' class="w"' if place == 0 or name in LEFT else ""


def _cell(name: str, text: str, place: int) -> str:
    named = f'data-name="{escaped(name)}"'
    if place == 0:
        return f'<th scope="row" class="w" {named}>{escaped(text)}</th>'
    if name in SENTENCES:
        return f'<td class="s" {named}>{escaped(text)}</td>'
    if name in _BADGES and text not in _PLAIN:
        word, _, _ = text.partition(",")
        style = "good" if word in _GOOD else "bad" if text in _BAD else "warn"
        return f'<td class="w" {named}><span class="badge {style}">{escaped(text)}</span></td>'
    return f"<td{_side(name, place)} {named}>{escaped(text)}</td>"


def _list(sentences: Sequence[str]) -> str:
    lines = "".join(f"<li>{escaped(text)}</li>" for text in sentences)
    return f'<ul class="says">{lines}</ul>' if lines else ""
