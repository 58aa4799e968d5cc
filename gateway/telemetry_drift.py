"""What the monitors saw last: effects, rows, verdicts, open episodes."""

from gateway.aggregates import Aggregates
from gateway.telemetry_names import Names
from monitors import metrics as m
from monitors.config import MonitorsConfig
from monitors.embeddings.names import GROUPS
from monitors.signals.table import SIGNALS_BY_NAME
from monitors.verdicts import MONITOR, levels_for
from storage.records import Verdict

STATES = {"ok": 0.0, "drift": 1.0, "not_enough_data": 2.0, "stale": 3.0}
"""Value of `driftgate_drift_state` for each verdict."""

_MORE_STATISTICS = ("ks", "wasserstein_sd", "js_distance")
_BY_ROUTE = (m.DRIFT_EFFECT, m.DRIFT_SAMPLES, m.DRIFT_STATE, m.DRIFT_LOOK_AT, m.ALERTS_OPEN)


class DriftSeries:
    """The series that come from verdicts."""

    def __init__(self, aggregates: Aggregates) -> None:
        self._aggregates = aggregates
        self._open: dict[tuple[str, str, tuple[str, str]], bool] = {}
        self._named: set[str] = set()

    def reconfigure(self, config: MonitorsConfig, names: Names) -> None:
        """Show the levels of a configuration, and no route that it has not."""
        self._aggregates.forget(m.DRIFT_LEVEL)
        # Inputs of models that nobody named could be any number of labels.
        self._named = {*SIGNALS_BY_NAME, *GROUPS, *config.features}
        for feature in SIGNALS_BY_NAME:
            self._aggregates.set(m.DRIFT_LEVEL, (feature,), levels_for(config, feature).psi)
        for route in {route for route, _, _ in self._open} - names.routes:
            for metric in _BY_ROUTE:
                self._aggregates.forget(metric, route)
        self._open = {key: is_open for key, is_open in self._open.items() if key[0] in names.routes}

    def observe(self, verdict: Verdict, names: Names) -> None:
        """Take one verdict; the last one of a route that was removed shows nothing."""
        if verdict.route not in names.routes:
            return
        key = verdict.segment, verdict.feature
        self._open[verdict.route, verdict.monitor, key] = verdict.details.get("open") is True
        if verdict.monitor == MONITOR and not verdict.segment and verdict.feature in self._named:
            self._show(verdict)

    def _show(self, verdict: Verdict) -> None:
        put = self._aggregates.set
        feature, route = verdict.feature, verdict.route
        where = (route, feature)
        put(m.DRIFT_STATE, where, STATES[verdict.verdict])
        put(m.DRIFT_SAMPLES, (*where, "reference"), verdict.n_reference)
        put(m.DRIFT_SAMPLES, (*where, "current"), verdict.n_current)
        put(m.DRIFT_LOOK_AT, (route,), verdict.at / 1_000_000)
        # Without enough rows nothing was measured, and the last effect is not the present one.
        self._aggregates.forget(m.DRIFT_EFFECT, *where)
        if verdict.value is not None:
            put(m.DRIFT_EFFECT, (*where, verdict.statistic), verdict.value)
        for name in _MORE_STATISTICS:
            found = verdict.details.get(name)
            if isinstance(found, float):
                put(m.DRIFT_EFFECT, (*where, name), found)

    def count_open(self) -> None:
        """Set the number of open episodes of each route that was looked at."""
        for route, kind in {(route, kind) for route, kind, _ in self._open}:
            values = (self._open[key] for key in self._open if key[:2] == (route, kind))
            self._aggregates.set(m.ALERTS_OPEN, (route, kind), sum(values))
