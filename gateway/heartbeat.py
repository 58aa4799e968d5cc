"""Once a second, what no record carries goes into the spool: STATS. And back: how full it is."""

import asyncio
import logging

from gateway.data_plane import DataPlane
from gateway.loop_lag import Lateness, LoopLag
from gateway.overload import OverloadGate
from gateway.server import Server
from gateway.upstreams import UpstreamSet
from storage.quota import BODIES_SHARE
from storage.records import WorkerStats
from storage.spool import SpoolStatistics
from storage.spool_level import SpoolLevel, SpoolUsage

log = logging.getLogger(__name__)

EVERY_S = 1.0


class Heartbeat:
    """Reports the worker, the lateness of its event loop among other things.

    Parameters
    ----------
    level : SpoolLevel
        Measures what all workers' spool holds, for the quota.
    gate : OverloadGate, optional
        Of the worker; gives its measurement of the loop, started and stopped here.
    """

    def __init__(
        self,
        worker: str,
        plane: DataPlane,
        server: Server,
        upstreams: UpstreamSet,
        level: SpoolLevel,
        gate: OverloadGate | None = None,
    ) -> None:
        self._worker = worker
        self._plane = plane
        self._server = server
        self._spool = plane.spool
        self._clock = plane.clock
        self._upstreams = upstreams
        self._level = level
        self._usage = SpoolUsage(0, 0, 0)
        self._was = ""
        self._gate = gate
        self._lag = gate.lag if gate is not None else LoopLag(plane.clock)

    async def run(self) -> None:
        """Tick until cancelled."""
        self._lag.start()
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await self._measure_spool()
                self._tell_state()
                self._spool.stats(self.measure(self._lag.take()))
        finally:
            self._lag.stop()

    async def _measure_spool(self) -> None:
        try:
            self._usage = await asyncio.to_thread(self._level.measure)
        except OSError as error:  # Out of descriptors, say: until then what is written counts.
            log.warning("the spool cannot be measured: %s", error)
            return
        self._spool.set_unread(self._usage.unread_bytes)

    def _tell_state(self) -> None:
        """Log when records begin to suffer, and when they are well again."""
        spool = self._spool.statistics()
        state = _state_of(spool)
        if state == self._was:
            return
        self._was = state
        counts = (spool.unlogged, spool.payloads_dropped)
        if state:
            log.error("%s; so far %d records unlogged, %d without bodies", state, *counts)
        else:
            log.warning("the spool has room; %d records unlogged, %d without bodies", *counts)

    def measure(self, lateness: Lateness) -> WorkerStats:
        """Return this moment's STATS."""
        plane, snapshot = self._plane, self._plane.snapshot
        dispatch = snapshot.dispatcher.statistics()
        cache = plane.cache.statistics()
        spool = self._spool.statistics()
        runners = snapshot.shadow_runners.values()
        return WorkerStats(
            worker=self._worker,
            at=self._clock.now_us(),
            in_flight=plane.in_flight,
            open_connections=self._server.statistics().connections,
            loop_lag_s=lateness.longest_s,
            breakers=dict(dispatch.breakers),
            pools=self._upstreams.pools(),
            shadows_dropped=sum(runner.statistics().dropped for runner in runners),
            unlogged=spool.unlogged,
            payloads_dropped=spool.payloads_dropped,
            late_syncs=spool.late_syncs,
            failed_syncs=spool.failed_syncs,
            spool_full=spool.full,
            reserve_bytes=spool.reserve_bytes,
            spool_bytes=self._usage.size_bytes,
            unread_bytes=spool.unread_bytes,
            spool_share=spool.quota_share,
            cache_bytes=cache.size_bytes,
            cache_entries=cache.entries,
            retries_denied=dispatch.denied,
            refused=dict(plane.refused),
            loop_lag_mean_s=lateness.mean_s,
            upstream_waiting=dispatch.waiting,
            waiting=self._gate.statistics().waiting if self._gate is not None else 0,
        )


def _state_of(spool: SpoolStatistics) -> str:
    if spool.full:
        return "the spool's disk is full or failing"
    if spool.quota_share >= 1.0:
        return "the spool is as large as `record.spool_bytes`: the ingest does not keep up"
    if spool.quota_share >= BODIES_SHARE:
        return "the spool nears `record.spool_bytes`: the ingest does not keep up"
    return ""
