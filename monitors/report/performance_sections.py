"""What became of predictions, as tables."""

from collections.abc import Iterator, Sequence

from monitors.report import words
from monitors.report.performance_model import ClassOutcome, Outcome, Performance
from monitors.report.section import Section, section

MOST_CLASSES = 10
"""Classes of a route that tables show; JSON and CSV have more."""

MOST_CHARS = 64
"""Characters of a label that tables show."""


def performance_sections(performance: Sequence[Performance]) -> Iterator[Section]:
    """Yield the tables that have rows."""
    if not performance:
        return
    rows = [
        (
            *(one.route, outcome.variant or "all", outcome.metric.replace("_", " ")),
            _worded(outcome.metric, outcome.value),
            words.span(_worded(outcome.metric, outcome.low), _worded(outcome.metric, outcome.high)),
            words.number(outcome.n),
        )
        for one in performance
        for outcome in (*_estimate(one), *one.outcomes)
    ]
    says = [sentence for one in performance for sentence in _sentences(one)]
    columns = "route|variant|metric|value|95 %|n"
    yield section("performance", "What became of predictions", columns, rows, says)
    classes = [row for one in performance for row in _class_rows(one)]
    if classes:
        columns = "route|name|n|share|precision|95 %|recall|95 %"
        left = sum(max(0, len(one.classes) - MOST_CLASSES) for one in performance)
        more = [f"{left} more labels are in JSON and CSV."] if left else []
        yield section("classes", "Labels", columns, classes, more)


def _estimate(one: Performance) -> Iterator[Outcome]:
    if one.estimated is not None:
        found = one.estimated
        yield Outcome("", "expected accuracy", found.value, found.low, found.high, found.n)


def _class_rows(one: Performance) -> Iterator[Sequence[str]]:
    for row in one.classes[:MOST_CLASSES]:
        yield (
            one.route,
            row.label[:MOST_CHARS],
            words.number(row.n),
            words.share(row.share),
            *_rates(row),
        )


def _rates(row: ClassOutcome) -> tuple[str, ...]:
    return (
        words.share(row.precision),
        words.span(words.share(row.precision_low), words.share(row.precision_high)),
        words.share(row.recall),
        words.span(words.share(row.recall_low), words.share(row.recall_high)),
    )


def _worded(metric: str, value: float | None) -> str:
    return words.share(value) if metric.endswith("accuracy") else words.figure(value)


def _sentences(one: Performance) -> Iterator[str]:
    if one.told:
        delay = words.seconds(one.delay_p50_s) if one.delay_p50_s else "0 s"
        yield (
            f"{one.route}: feedback on {words.number(one.told)} of {words.number(one.n)} requests"
            f" ({words.share(one.coverage)}), half of it within {delay}."
        )
    if one.calibration is not None:
        found = one.calibration
        yield (
            f"{one.route}: confidence is {words.share(found.ece)} off on average (ECE),"
            f" Brier score {words.figure(found.brier)}, log loss {words.figure(found.log_loss)},"
            f" of {found.n} labelled predictions."
        )
    for gap in one.gaps:
        if gap.verdict == "worse":
            metric = gap.metric.replace("_", " ")
            span = words.span(_worded(gap.metric, gap.low), _worded(gap.metric, gap.high))
            yield (
                f"{one.route}: {gap.segment} does worse than the rest: {metric}"
                f" {_worded(gap.metric, gap.value)} of {gap.n} against"
                f" {_worded(gap.metric, gap.value_rest)} of {gap.n_rest}, difference {span},"
                f" an interval for all {gap.segments} segments together."
            )
    if one.estimated is not None:
        yield (
            f"{one.route}: the expected accuracy is what confidence promises, calibrated by"
            f" {one.estimated.labels} earlier labels; it cannot see that the same inputs now"
            " have other outcomes (concept drift)."
        )
