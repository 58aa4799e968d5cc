"""Once a second, what no record carries goes into the spool: STATS."""

import asyncio

from gateway.data_plane import DataPlane
from gateway.loop_lag import Lateness, LoopLag
from gateway.overload import OverloadGate
from gateway.server import Server
from gateway.upstreams import UpstreamSet
from storage.records import WorkerStats

EVERY_S = 1.0


class Heartbeat:
    """Reports the worker, the lateness of its event loop among other things.

    Parameters
    ----------
    gate : OverloadGate, optional
        Of the worker; gives its measurement of the loop, started and stopped here.
    """

    def __init__(
        self,
        worker: str,
        plane: DataPlane,
        server: Server,
        upstreams: UpstreamSet,
        gate: OverloadGate | None = None,
    ) -> None:
        self._worker = worker
        self._plane = plane
        self._server = server
        self._spool = plane.spool
        self._clock = plane.clock
        self._upstreams = upstreams
        self._gate = gate
        self._lag = gate.lag if gate is not None else LoopLag(plane.clock)

    async def run(self) -> None:
        """Tick until cancelled."""
        self._lag.start()
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                self._spool.stats(self.measure(self._lag.take()))
        finally:
            self._lag.stop()

    def measure(self, lateness: Lateness) -> WorkerStats:
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
            loop_lag_s=lateness.longest_s,
            breakers=dict(dispatch.breakers),
            pools=self._upstreams.pools(),
            shadows_dropped=sum(runner.statistics().dropped for runner in runners),
            unlogged=self._spool.statistics().unlogged,
            cache_bytes=cache.size_bytes,
            cache_entries=cache.entries,
            retries_denied=dispatch.denied,
            refused=dict(plane.refused),
            loop_lag_mean_s=lateness.mean_s,
            upstream_waiting=dispatch.waiting,
            waiting=self._gate.statistics().waiting if self._gate is not None else 0,
        )
