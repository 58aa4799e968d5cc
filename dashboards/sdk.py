"""Grafana's Foundation SDK, imported in one place (development only: boards ship as JSON).

Its classic (v1) model warns on import that v2 is preferred. Provisioning v2 files does not work in
Grafana 13.0, and 10.4 to 12 do not know them: the boards stay v1, which all of these load.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Prefer using dashboardv2", append=False)
    from grafana_foundation_sdk.builders import (
        common,
        dashboard,
        prometheus,
        stat,
        table,
        timeseries,
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as common_model
    from grafana_foundation_sdk.models import dashboard as dashboard_model
    from grafana_foundation_sdk.models import prometheus as prometheus_model

__all__ = [
    "JSONEncoder",
    "common",
    "common_model",
    "dashboard",
    "dashboard_model",
    "prometheus",
    "prometheus_model",
    "stat",
    "table",
    "timeseries",
]
