"""Once a second, what no record carries goes into the spool: STATS."""

import asyncio

from gateway.data_plane import DataPlane
from gateway.server import Server
from gateway.upstreams import UpstreamSet
from storage.records import WorkerStats

EVERY_S = 1.0


class Heartbeat:
    """Measures the event loop's lag by its own ticks."""

    def __init__(
        self, worker: str, plane: DataPlane, server: Server, upstreams: UpstreamSet
    ) -> None:
        self._worker = worker
        self._plane = plane
        self._server = server
        self._spool = plane.spool
        self._clock = plane.clock
        self._upstreams = upstreams

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            due_s = self._clock.monotonic() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._spool.stats(self.measure(max(0.0, self._clock.monotonic() - due_s)))

    def measure(self, loop_lag_s: float) -> WorkerStats:
        """Return this moment's STATS."""
        plane, snapshot = self._plane, self._plane.snapshot
        dispatch = snapshot.dispatcher.statistics()
        cache = plane.cache.statistics()
        runners = snapshot.shadow_runners.values()
        return WorkerStats(
            worker=self._worker,
            at=self._clock.now_us(),
            in_flight=plane.in_flight,
            open_connections=self._server.statistics().connections,
            loop_lag_s=loop_lag_s,
            breakers=dict(dispatch.breakers),
            pools=self._upstreams.pools(),
            shadows_dropped=sum(runner.statistics().dropped for runner in runners),
            unlogged=self._spool.statistics().unlogged,
            cache_bytes=cache.size_bytes,
            cache_entries=cache.entries,
            retries_denied=dispatch.denied,
            refused=dict(plane.refused),
        )
