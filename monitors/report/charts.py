"""The charts of a report: traffic and latency over time, distances, histograms."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from monitors.report import svg, words
from monitors.report.model import Finding
from monitors.report.parts import Step, Timeline
from monitors.windows import SECOND_US, Window, from_us

_WIDE = 900
_SMALL = 380
_DAY_S = 86_400.0
_TICKS = 6
_MARGIN = 64.0
MOST_DISTANCES = 30
"""Features whose distance is drawn; the table has all."""
_LEVELS = (0.02, 0.1, 0.25, 1.0, 4.0, 16.0)


class Chart(NamedTuple):
    """An image and the table that says the same.

    Attributes
    ----------
    caption : str
        What is drawn, in a sentence part.
    legend : tuple of (str, str)
        Class of a mark and what it stands for.
    columns, rows : sequences of str
        The table.
    """

    caption: str
    image: str
    legend: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Axis(NamedTuple):
    """The steps of an interval."""

    window: Window
    step_us: int

    @property
    def starts(self) -> list[int]:
        """Begins of all steps, those without requests too."""
        first = self.window.from_us // self.step_us * self.step_us
        return list(range(first, self.window.to_us, self.step_us))

    def named(self, at_us: int) -> str:
        """Return a step's time, short."""
        text = from_us(at_us)
        return text[5:10] if self.window.length_s > 2 * _DAY_S else text[11:16]


def axis_of(timeline: Timeline, window: Window) -> Axis:
    """Return the axis of a timeline."""
    return Axis(window, round(timeline.step_s * SECOND_US))


def traffic_chart(steps: Sequence[Step], axis: Axis) -> Chart:
    """Draw requests and errors of all routes by step."""
    sums: dict[int, tuple[int, int]] = {}
    for step in steps:
        n, errors = sums.get(step.at, (0, 0))
        sums[step.at] = n + step.n, errors + step.errors
    starts = axis.starts
    most = max((n for n, _ in sums.values()), default=0)
    across, up = _scales(len(starts), float(most))
    wide = (across(1.0) - across(0.0)) * 0.84
    good, bad = [], []
    for place, at in enumerate(starts):
        n, errors = sums.get(at, (0, 0))
        left = across(float(place))
        good.append((left, up(n), wide, up(errors) - up(n)))
        bad.append((left, up(errors), wide, up(0.0) - up(errors)))
    total, failed = sum(n for n, _ in sums.values()), sum(e for _, e in sums.values())
    about = (
        f"{total} requests, {failed} of them errors, in {len(starts)} steps;"
        f" at most {most} in one step."
    )
    marks = [*_frame(axis, across, up, words.number), svg.bars("now", good), svg.bars("bad", bad)]
    rows = [
        (from_us(at), str(sums.get(at, (0, 0))[0]), str(sums.get(at, (0, 0))[1])) for at in starts
    ]
    return Chart(
        caption="Requests by step of time, errors at the foot of each bar",
        image=svg.figure("traffic-chart", "Requests over time", about, (_WIDE, 190), marks),
        legend=(("now", "answered"), ("bad", "errors")),
        columns=("from", "requests", "errors"),
        rows=tuple(rows),
    )


def latency_chart(name: str, route: str, steps: Sequence[Step], axis: Axis) -> Chart:
    """Draw a route's median and 95th percentile by step."""
    by_step = {step.at: step for step in steps if step.route == route}
    starts = axis.starts
    most = max((step.latency_p95_s or 0.0 for step in by_step.values()), default=0.0)
    across, up = _scales(len(starts), most)
    middle = across(0.5) - across(0.0)

    def height(value: float | None) -> float | None:
        return None if value is None else up(value)

    found = [by_step.get(at) for at in starts]
    p50 = [None if step is None else step.latency_p50_s for step in found]
    p95 = [None if step is None else step.latency_p95_s for step in found]
    places = [across(float(place)) + middle for place in range(len(starts))]
    marks = [
        *_frame(axis, across, up, words.seconds),
        svg.line("line high", list(zip(places, map(height, p95), strict=True))),
        svg.line("line", list(zip(places, map(height, p50), strict=True))),
    ]
    about = f"Latency of route {route}: the 95th percentile reaches {words.seconds(most)}."
    rows = [
        (from_us(at), words.seconds(low), words.seconds(high))
        for at, low, high in zip(starts, p50, p95, strict=True)
    ]
    return Chart(
        caption=f"Latency of {route} by step of time",
        image=svg.figure(name, f"Latency of {route} over time", about, (_WIDE, 190), marks),
        legend=(("key-line", "median"), ("key-line high", "95th percentile (dashed)")),
        columns=("from", "median", "95th percentile"),
        rows=tuple(rows),
    )


def spark(name: str, route: str, steps: Sequence[Step], axis: Axis) -> str:
    """Draw a route's requests as a small line; its figures stand beside it."""
    sums = {step.at: step.n for step in steps if step.route == route}
    starts = axis.starts
    most = max(sums.values(), default=0)
    across = svg.Scale(0.0, max(1.0, len(starts) - 1.0), 2.0, 158.0)
    up = svg.Scale(0.0, max(1.0, float(most)), 34.0, 3.0)
    points = [(across(float(i)), up(float(sums.get(at, 0)))) for i, at in enumerate(starts)]
    about = f"From 0 to {most} requests a step, {len(starts)} steps."
    return svg.figure(
        name, f"Requests of {route} over time", about, (160, 38), [svg.line("line", points)]
    )


def distance_chart(drift: Sequence[Finding]) -> Chart:
    """Draw the PSI of features with its interval and the evidence's threshold, largest first."""
    told = [f for f in drift if f.value is not None and f.low is not None and f.high is not None]
    told.sort(key=lambda f: (f.verdict != "drift", -(f.value or 0.0)))
    shown = told[:MOST_DISTANCES]
    most = max((f.high or 0.0 for f in shown), default=0.0)
    left, tall = 310.0, 24
    across = svg.Scale(0.0, max(0.3, most), left, _WIDE - 14.0, math.sqrt)
    height = 30 + tall * len(shown)
    marks = []
    for level in (0.0, *_LEVELS):
        if level <= across.high:
            marks.append(svg.rule("grid", (across(level), 22.0), (across(level), height - 2.0)))
            marks.append(svg.label(across(level), 15.0, f"{level:g}", anchor="middle"))
    several = len({f.route for f in shown}) > 1
    for place, one in enumerate(shown):
        marks += _distance(one, across, 28.0 + tall * place, several=several)
    drifted = [f.feature for f in told if f.verdict == "drift"]
    about = f"{len(drifted)} of {len(told)} features drifted"
    about += f": {', '.join(drifted)}." if drifted else "."
    number = f"the {len(shown)} features that moved most" if len(shown) < len(told) else "features"
    rows = [
        (
            *(f.route, f.segment or "all", f.feature, words.verdict(f.verdict, f.severity)),
            words.psi(f.value),
            words.span(words.psi(f.low), words.psi(f.high)),
            words.psi(f.threshold),
        )
        for f in shown
    ]
    return Chart(
        caption=f"Distance (PSI) of {number} from the baseline, on a square-root scale",
        image=svg.figure("psi-chart", "PSI by feature", about, (_WIDE, height), marks),
        legend=(
            *(("bad", "drift"), ("before", "no drift")),
            *(("key-line whisker", "95 % interval"), ("key-line level", "threshold of evidence")),
        ),
        columns=("route", "segment", "feature", "verdict", "psi", "95 %", "threshold"),
        rows=tuple(rows),
    )


def _distance(one: Finding, across: svg.Scale, top: float, *, several: bool) -> list[str]:
    middle = top + 10.0
    name = f"{one.route}/{one.feature}" if several else one.feature
    named = f"{name} ({one.segment})" if one.segment else name
    drifted = one.verdict == "drift"
    start = across(0.0)
    marks = [
        svg.label(start - 10.0, top + 14.0, svg.cut(named, 42), anchor="end"),
        svg.bars(
            "bad" if drifted else "before",
            [(start, top + 4.0, across(one.value or 0.0) - start, 12.0)],
        ),
        svg.rule("whisker", (across(one.low or 0.0), middle), (across(one.high or 0.0), middle)),
    ]
    if one.threshold is not None:
        level = across(one.threshold)
        marks.append(svg.rule("level", (level, top + 1.0), (level, top + 19.0)))
    return marks


def histogram_chart(name: str, one: Finding) -> Chart:
    """Draw a feature's shares by cell, in the baseline and now."""
    before = sum(b.reference for b in one.histogram) or 1
    now = sum(b.current for b in one.histogram) or 1
    shares = [(b.reference / before, b.current / now) for b in one.histogram]
    most = max((max(pair) for pair in shares), default=0.0)
    across = svg.Scale(0.0, most or 1.0, 150.0, _SMALL - 60.0)
    old, new, marks = [], [], []
    for place, (cell, (then, today)) in enumerate(zip(one.histogram, shares, strict=True)):
        top = 6.0 + 26.0 * place
        old.append((150.0, top, across(then) - 150.0, 9.0))
        new.append((150.0, top + 10.0, across(today) - 150.0, 9.0))
        marks.append(svg.label(142.0, top + 14.0, svg.cut(cell.label, 21), anchor="end"))
        end = max(across(then), across(today)) + 6.0
        marks.append(svg.label(end, top + 14.0, words.share(today), style="small"))
    about = f"Shares of rows by cell: {before} rows of the baseline, {now} rows now."
    title = f"{one.feature} then and now"
    size = (_SMALL, 12 + 26 * len(one.histogram))
    marks += [svg.bars("before", old), svg.bars("now", new)]
    rows = [
        (cell.label, str(cell.reference), words.share(then), str(cell.current), words.share(today))
        for cell, (then, today) in zip(one.histogram, shares, strict=True)
    ]
    return Chart(
        caption=f"{one.route}/{one.feature}: share of rows by cell",
        image=svg.figure(name, title, about, size, marks),
        legend=(("before", "baseline"), ("now", "now")),
        columns=("cell", "baseline", "share", "now", "share now"),
        rows=tuple(rows),
    )


def _scales(steps: int, most: float) -> tuple[svg.Scale, svg.Scale]:
    across = svg.Scale(0.0, float(max(1, steps)), _MARGIN, _WIDE - 10.0)
    return across, svg.Scale(0.0, most or 1.0, 160.0, 12.0)


def _frame(
    axis: Axis, across: svg.Scale, up: svg.Scale, worded: Callable[[float], str]
) -> list[str]:
    """Return lines at half and full height, and times below."""
    marks = []
    for value in (0.0, up.high / 2.0, up.high):
        marks.append(svg.rule("grid", (_MARGIN, up(value)), (_WIDE - 10.0, up(value))))
        marks.append(svg.label(_MARGIN - 6.0, up(value) + 4.0, worded(value), anchor="end"))
    starts = axis.starts
    every = max(1, math.ceil(len(starts) / _TICKS))
    return marks + [
        svg.label(across(float(place)), 180.0, axis.named(starts[place]))
        for place in range(0, len(starts), every)
    ]
