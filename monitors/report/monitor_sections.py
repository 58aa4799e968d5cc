"""What monitors found, as tables."""

from collections.abc import Iterator, Sequence

from monitors.report import words
from monitors.report.model import Finding, Report, ReportedAlert
from monitors.report.parts import BaselineInForce, Check, Difference, Rollout
from monitors.report.performance_sections import performance_sections
from monitors.report.section import Section, section

MOST_CHECKS = 25
"""Checks that tables show beside every breach; JSON and CSV have all."""
_SHARES = ("error_share", "accuracy")
_SECONDS = ("latency_s", "ttft_s")


def monitor_sections(report: Report) -> Iterator[Section]:
    """Yield the tables that have rows."""
    if report.differences:
        yield _differences_table(report.differences)
    if report.drift:
        yield _drift_table(report.drift)
    if report.slos:
        yield _slo_table(report.slos)
    # A look at nothing, such as at inputs that no model has, is no news.
    quality = [check for check in report.quality if check.n or check.verdict != "ok"]
    if quality:
        yield _checks_table("quality", "Quality of data", quality)
    if report.spend:
        yield _spend_table(report.spend)
    yield from performance_sections(report.performance)
    if report.performance_checks:
        title = "Labels and scores against the baseline's period"
        yield _checks_table("performance_checks", title, report.performance_checks)
    if report.rollouts:
        yield _rollouts_table(report.rollouts)
    if report.alerts:
        yield _alerts_table(report.alerts)
    if report.baselines:
        yield _baselines_table(report.baselines)


def in_unit(metric: str, value: float | None) -> str:
    """Return a value of what variants are compared by."""
    if metric in _SHARES:
        return words.share(value)
    return words.seconds(value) if metric in _SECONDS else words.figure(value)


def _differences_table(differences: Sequence[Difference]) -> Section:
    columns = "route|variant|against|metric|n|before n|before|now|difference|95 %|verdict"
    rows = [
        (
            *(row.route, row.variant, row.against, row.metric),
            *(words.number(row.n), words.number(row.n_before)),
            in_unit(row.metric, row.value_before),
            in_unit(row.metric, row.value),
            in_unit(row.metric, row.difference),
            words.span(in_unit(row.metric, row.low), in_unit(row.metric, row.high)),
            difference_word(row),
        )
        for row in differences
    ]
    says = "These intervals hold at all looks together: it does no harm to look often."
    return section("differences", "Variants side by side", columns, rows, [says])


def difference_word(row: Difference) -> str:
    """Say on which side of zero an interval lies."""
    if row.low is None or row.high is None:
        return "not enough data"
    return "higher" if row.low > 0.0 else "lower" if row.high < 0.0 else "no difference seen"


def _drift_table(drift: Sequence[Finding]) -> Section:
    segments = any(row.segment for row in drift)
    columns = f"route|{'segment|' if segments else ''}feature|verdict|psi|95 %|threshold|p"
    begins = any(row.onset_at is not None for row in drift)
    columns += f"|n|baseline n|baseline{'|began' if begins else ''}"
    rows = [
        (
            row.route,
            *((row.segment or "all",) if segments else ()),
            row.feature,
            words.verdict(row.verdict, row.severity),
            words.psi(row.value),
            words.span(words.psi(row.low), words.psi(row.high)),
            words.psi(row.threshold),
            words.chance(row.p_adjusted),
            words.number(row.n_current),
            words.number(row.n_reference),
            row.baseline,
            *((words.moment(row.onset_at),) if begins else ()),
        )
        for row in sorted(drift, key=lambda row: row.verdict != "drift")
    ]
    return section("drift", "Drift", columns, rows, tuple(_cause_lines(drift)))


def _cause_lines(drift: Sequence[Finding]) -> Iterator[str]:
    causes: dict[str, list[str]] = {}
    for row in drift:
        if row.verdict != "ok":
            segment = f" ({row.segment})" if row.segment else ""
            causes.setdefault(row.cause, []).append(f"{row.route}/{row.feature}{segment}")
    for cause, features in causes.items():
        yield f"{', '.join(features)}: {cause}"


def _slo_table(slos: Sequence[Check]) -> Section:
    columns = "route|name|verdict|burn rate|95 %|threshold|budget left|n|at|summary"
    rows = [
        (
            row.route,
            row.subject,
            words.verdict(row.verdict, row.severity),
            words.figure(row.value),
            words.span(words.figure(row.low), words.figure(row.high)),
            words.figure(row.threshold),
            _left(row.measurements.get("budget_left")),
            words.number(row.n),
            words.moment(row.at),
            row.cause,
        )
        for row in slos
    ]
    return section("slos", "Service levels", columns, rows)


def _left(budget: float | None) -> str:
    return "none" if budget is not None and budget <= 0.0 else words.share(budget)


def _waiting(checks: Sequence[Check]) -> Iterator[str]:
    """Say once of every route whose hours cannot be judged yet what that takes."""
    measures: dict[str, list[str]] = {}
    for check in checks:
        measures.setdefault(check.route, []).append(check.subject)
    routes: dict[str, list[str]] = {}
    for route, named in measures.items():
        routes.setdefault(", ".join(named), []).append(route)
    for subjects, waiting in routes.items():
        yield (
            f"{', '.join(waiting)}: not enough data to say whether the last hour was usual"
            f" ({subjects}); that takes the same hour of 3 earlier days or more. Caps of a day"
            " (`monitors.spend`) work from the first request on."
        )


def _spend_table(checks: Sequence[Check]) -> Section:
    waiting = [check for check in checks if check.verdict == "not_enough_data"]
    known = [check for check in checks if check.verdict != "not_enough_data"]
    table = _checks_table("spend", "Spend", known)
    return table._replace(says=(*table.says, *_waiting(waiting)))


def _checks_table(key: str, title: str, checks: Sequence[Check]) -> Section:
    columns = "route|name|verdict|statistic|value|95 %|threshold|n|at|summary"
    shown = checks[: max(MOST_CHECKS, sum(1 for check in checks if check.verdict == "breach"))]
    left = len(checks) - len(shown)
    says = [f"{left} more were looked at; none is in breach."] if left else []
    rows = [
        (
            row.route,
            row.subject,
            words.verdict(row.verdict, row.severity),
            row.statistic,
            words.figure(row.value),
            words.span(words.figure(row.low), words.figure(row.high)),
            words.figure(row.threshold),
            words.number(row.n),
            words.moment(row.at),
            row.cause,
        )
        for row in shown
    ]
    return section(key, title, columns, rows, says)


def _rollouts_table(rollouts: Sequence[Rollout]) -> Section:
    rows = [(words.moment(r.at), r.route, r.event, r.actor, r.summary) for r in rollouts]
    return section("rollouts", "Rollouts", "at|route|event|by|summary", rows)


def _alerts_table(alerts: Sequence[ReportedAlert]) -> Section:
    columns = "severity|state|kind|route|opened|began|summary"
    rows = [
        (
            *(a.severity, a.state, a.kind, a.route),
            *(words.moment(a.opened_at), words.moment(a.onset_at), a.summary),
        )
        for a in alerts
    ]
    return section("alerts", "Alerts", columns, rows)


def _period(baseline: BaselineInForce) -> str:
    # The rows of a file have no times of their own.
    kind = baseline.source.partition(",")[0]
    return words.UNKNOWN if kind in {"file", "columns"} else words.period(baseline.window)


def _baselines_table(baselines: Sequence[BaselineInForce]) -> Section:
    rows = [
        (
            *(b.route, f"{b.name}@{b.version}", b.source, _period(b)),
            *(words.number(b.rows), str(b.features)),
        )
        for b in baselines
    ]
    columns = "route|baseline|source|rows from|rows|features"
    return section("baselines", "Baselines in force", columns, rows)
