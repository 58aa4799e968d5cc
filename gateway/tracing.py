"""Whether traces are exported: the standard OpenTelemetry variables say, the extra does it."""

import importlib
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from storage.records import End

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing(Protocol):
    """Turns records into spans."""

    def observe(self, ends: Sequence[End]) -> None:
        """Queue the spans of a batch; never blocks, never raises."""
        ...

    def close(self) -> None:
        """Send what is queued, within a bound."""
        ...


def open_tracing(environ: Mapping[str, str]) -> Tracing | None:
    """Return the exporter that the environment asks for, None without `OTEL_EXPORTER_OTLP_*`.

    `opentelemetry` costs 0.3 s of CPU to import, and is an extra: it is imported only here.
    """
    if not any(environ.get(name) for name in _ENDPOINTS):
        return None
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        log.error("traces are asked for, but not installed; install `driftgate[otlp]`")
        return None
    module = importlib.import_module("gateway.traces")
    return cast("Tracing", module.OtlpTracing.from_environment(environ))
