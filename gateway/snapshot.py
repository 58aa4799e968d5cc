"""Everything one request needs of the configuration: built once a reload, then only read."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.auth import keys_by_digest
from gateway.client_call import TapLimits
from gateway.config import KeyConfig, LimitsConfig, Settings
from gateway.recording import Recorder
from gateway.redaction import MARGIN_BYTES
from router.dispatch import Dispatcher
from router.plan import RoutingTable
from router.shadow import ShadowRunner


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A configuration at work.

    Attributes
    ----------
    shadow_dispatcher : Dispatcher
        Over connections of its own, so that a shadow never takes one from a client.
    shadow_runners : mapping of str to ShadowRunner
        By route.
    keep_bytes : int
        Of a streamed answer, kept for the record and the cache.
    """

    settings: Settings
    table: RoutingTable
    keys: Mapping[bytes, KeyConfig]
    limits: LimitsConfig
    recorder: Recorder
    dispatcher: Dispatcher
    shadow_dispatcher: Dispatcher
    shadow_runners: Mapping[str, ShadowRunner]
    keep_bytes: int
    tap_limits: TapLimits


def build_snapshot(
    settings: Settings,
    table: RoutingTable,
    *,
    dispatcher: Dispatcher,
    shadow_dispatcher: Dispatcher,
) -> Snapshot:
    """Compose a snapshot from checked settings and open upstreams."""
    limits = settings.gateway.limits
    caching = any(route.cache is not None for route in settings.routes.values())
    keep = settings.record.max_payload_bytes + (MARGIN_BYTES if settings.record.redact else 0)
    if caching:
        keep = max(keep, limits.answer_bytes)
    return Snapshot(
        settings=settings,
        table=table,
        keys=keys_by_digest(settings.gateway.keys),
        limits=limits,
        recorder=Recorder.of(settings.record, settings.upstreams),
        dispatcher=dispatcher,
        shadow_dispatcher=shadow_dispatcher,
        shadow_runners={
            name: ShadowRunner(route.shadow_concurrency)
            for name, route in settings.routes.items()
            if route.shadow
        },
        keep_bytes=keep,
        tap_limits=TapLimits(limits.answer_bytes, keep, limits.event_bytes),
    )
