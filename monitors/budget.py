"""How the monitors share the one number, `monitors.false_alarms_per_30d` of a route.

Objectives (`slo`) and caps (`spend`) are levels that a user set: they cost nothing of it.
"""

DRIFT = 0.8
"""Share of the streams' detectors and of the fixed-window tests."""
QUALITY = 0.05
"""Share of the rates that nobody declared: missing, invalid, new and outlying rows."""
SPEND = 0.1
"""Share of the comparison of cost, tokens and requests with earlier days."""
PERFORMANCE = 0.05
"""Share of the comparison of labels and scores with those of the baseline's period."""
