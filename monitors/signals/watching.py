"""Which signals are watched: apart from the monitor, whose import a report has no time for."""

from monitors.options import MonitorOptions
from monitors.signals.table import SIGNALS, Signal


def watched(config: MonitorOptions) -> tuple[Signal, ...]:
    """Return the signals that the configuration leaves enabled."""
    off = {name for name, feature in config.features.items() if not feature.enabled}
    return tuple(signal for signal in SIGNALS if signal.name not in off)
