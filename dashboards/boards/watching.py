"""Drift: how far features lie from their baseline, on how many rows; objectives."""

from dashboards.promql import per_second, select, total
from dashboards.spec import Panel, Query, Row
from monitors import metrics as m

_FEATURE = ("route", "feature")
_LEGEND = "{{route}} {{feature}}"
_PSI = select(m.DRIFT_EFFECT, 'statistic="psi"')

DRIFT = Row(
    "Drift",
    (
        Panel(
            "table",
            "Features",
            "Newest look at each feature: PSI against the baseline with the level that counts as "
            "material, Wasserstein-1 in standard deviations (numbers only), the rows compared, "
            "and the verdict. An effect without its rows is noise.",
            "short",
            (
                Query(total(_PSI, *_FEATURE, operator="max"), "PSI"),
                Query(
                    f"{total(_PSI, *_FEATURE, operator='max')} * 0 + on (feature) group_left "
                    f"{total(select(m.DRIFT_LEVEL), 'feature', operator='max')}",
                    "Material from",
                ),
                Query(
                    total(
                        select(m.DRIFT_EFFECT, 'statistic="wasserstein_sd"'),
                        *_FEATURE,
                        operator="max",
                    ),
                    "Wasserstein (sd)",
                ),
                Query(
                    total(select(m.DRIFT_SAMPLES, 'window="reference"'), *_FEATURE, operator="max"),
                    "Rows before",
                ),
                Query(
                    total(select(m.DRIFT_SAMPLES, 'window="current"'), *_FEATURE, operator="max"),
                    "Rows now",
                ),
                Query(total(select(m.DRIFT_STATE), *_FEATURE, operator="max"), "Verdict"),
            ),
            width=24,
            words=(
                (0, "ok", "green"),
                (1, "drift", "red"),
                (2, "not enough data", "text"),
                (3, "stale", "orange"),
            ),
        ),
        Panel(
            "timeseries",
            "PSI",
            "Population stability index against the baseline, at each look.",
            "short",
            (Query(total(_PSI, *_FEATURE, operator="max"), _LEGEND),),
            steps=((0.1, "orange"), (0.25, "red")),
            width=6,
        ),
        Panel(
            "timeseries",
            "Rows looked at",
            "Rows of the current window: below `monitors.min_samples` there is no verdict.",
            "short",
            (
                Query(
                    total(select(m.DRIFT_SAMPLES, 'window="current"'), *_FEATURE, operator="max"),
                    _LEGEND,
                ),
            ),
            width=6,
        ),
        Panel(
            "timeseries",
            "Open alerts and the age of the last look",
            "Features with an open episode, and the seconds since a route was last looked at.",
            "short",
            (
                Query(total(select(m.ALERTS_OPEN), "route", "kind"), "{{route}} {{kind}} open"),
                Query(
                    f"time() - {total(select(m.DRIFT_LOOK_AT), 'route', operator='max')}",
                    "{{route}} seconds since the look",
                ),
            ),
            width=6,
        ),
        Panel(
            "timeseries",
            "Notifications",
            "Tries a second to deliver notifications of alerts; `dead` ones were given up and wait "
            "for `monitor alerts replay`. Beside them, how many wait to be sent.",
            "short",
            (
                Query(per_second(m.DELIVERIES, by=("state",)), "{{state}}"),
                Query(total(select(m.DELIVERIES_WAITING)), "waiting"),
            ),
            width=6,
        ),
        Panel(
            "timeseries",
            "Burn rates of objectives",
            "How fast the error budget of 30 days burns over the last hour: at 14.4 it is gone in "
            "two days, and an alert is critical.",
            "short",
            (
                Query(
                    total(select(m.SLO_BURN_RATE, 'span="1h"'), "route", "slo", operator="max"),
                    "{{route}} {{slo}}",
                ),
            ),
            steps=((1, "orange"), (14.4, "red")),
            width=8,
        ),
        Panel(
            "timeseries",
            "Error budget left",
            "Part of the last 30 days' error budget of each objective that is left.",
            "percentunit",
            (
                Query(
                    total(select(m.SLO_BUDGET_LEFT), "route", "slo", operator="min"),
                    "{{route}} {{slo}}",
                ),
            ),
            width=8,
        ),
        Panel(
            "timeseries",
            "Texts embedded",
            "Predictions a minute whose texts were drawn for `monitors.embeddings`; why some "
            "`failed`, the log of the gateway says.",
            "short",
            (
                Query(
                    f"60 * ({per_second(m.EMBEDDINGS, by=('route', 'state'))})",
                    "{{route}} {{state}}",
                ),
            ),
            width=8,
        ),
    ),
)
