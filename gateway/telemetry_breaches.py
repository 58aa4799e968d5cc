"""What the monitors of levels saw last: burn rates, budgets left, open episodes."""

from collections.abc import Mapping, Sequence

from gateway.aggregates import Aggregates
from gateway.telemetry_names import Names
from monitors import metrics as m
from monitors.breaches import is_open
from monitors.endings import has_ended
from monitors.slo.burn import BUDGET_S, WINDOWS_S
from monitors.slo.run import MONITOR as SLO
from storage.records import Verdict

WINDOWS: Mapping[int, str] = {
    seconds: f"{seconds // 60}m" if seconds < 3600 else f"{seconds // 3600}h"
    for seconds in (*WINDOWS_S, BUDGET_S)
}
"""Label values of `driftgate_slo_burn_rate`, by the window's seconds."""


class BreachSeries:
    """The series that come from verdicts on levels."""

    def __init__(self, aggregates: Aggregates) -> None:
        self._aggregates = aggregates
        self._open: dict[tuple[str, str, str, str], bool] = {}

    def reconfigure(self, names: Names) -> None:
        """Show no route that a configuration has not."""
        for route in {key[0] for key in self._open} - names.routes:
            for metric in (m.SLO_BURN_RATE, m.SLO_BUDGET_LEFT, m.ALERTS_OPEN):
                self._aggregates.forget(metric, route)
        self._open = {key: open_ for key, open_ in self._open.items() if key[0] in names.routes}

    def observe(self, verdicts: Sequence[Verdict], names: Names) -> None:
        """Take the verdicts of a look."""
        for verdict in verdicts:
            if verdict.route not in names.routes:
                continue
            key = (verdict.route, verdict.monitor, verdict.segment, verdict.feature)
            self._open[key] = is_open(verdict)
            if verdict.monitor == SLO:
                self._observe_slo(verdict)
        for route, kind in {(v.route, v.monitor) for v in verdicts} & {k[:2] for k in self._open}:
            values = (self._open[key] for key in self._open if key[:2] == (route, kind))
            self._aggregates.set(m.ALERTS_OPEN, (route, kind), sum(values))

    def _observe_slo(self, verdict: Verdict) -> None:
        route, slo = verdict.route, verdict.feature
        for metric in (m.SLO_BURN_RATE, m.SLO_BUDGET_LEFT):
            self._aggregates.forget(metric, route, slo)
        windows, left = verdict.details.get("windows"), verdict.details.get("budget_left")
        if has_ended(verdict) or not isinstance(windows, list) or not isinstance(left, float):
            return
        for window in windows:
            # Without requests there is no rate.
            if window["n"]:
                labels = (route, slo, WINDOWS[window["window_s"]])
                self._aggregates.set(m.SLO_BURN_RATE, labels, window["burn_rate"])
        self._aggregates.set(m.SLO_BUDGET_LEFT, (route, slo), left)
