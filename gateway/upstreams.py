"""The upstream clients of a worker, kept over reloads as long as their configuration is."""

import random
from pathlib import Path

from gateway.config import Settings
from router.clock import Clock
from router.config import UpstreamConfig
from router.dispatch import Dispatcher
from router.httpx_upstream import HttpxUpstream
from router.transport import HttpUpstream
from router.upstream import Upstream

Client = HttpUpstream | HttpxUpstream


class UpstreamSet:
    """Opens clients for clients' requests and, apart from them, for shadows."""

    def __init__(self, engine_socket: Path, clock: Clock) -> None:
        self._engine_socket = engine_socket
        self._clock = clock
        self._open: dict[str, tuple[UpstreamConfig, Client, Client]] = {}
        self._retired: list[Client] = []
        self._dispatchers: tuple[Dispatcher, Dispatcher] | None = None

    def dispatchers(self, settings: Settings) -> tuple[Dispatcher, Dispatcher]:
        """Return dispatchers for requests and for shadows of a configuration."""
        primary: dict[str, Upstream] = {}
        shadow: dict[str, Upstream] = {}
        for name, config in settings.upstreams.items():
            if config.engine is not None and settings.engine_upstream is None:
                continue  # switched off: the dispatcher goes on to the next candidate
            primary[name], shadow[name] = self._clients(config)
        if self._dispatchers is None:
            both = (self._dispatcher(primary, settings), self._dispatcher(shadow, settings))
            self._dispatchers = both
        else:
            for dispatcher, upstreams in zip(self._dispatchers, (primary, shadow), strict=True):
                dispatcher.replace(upstreams, settings.upstreams)
        return self._dispatchers

    def _dispatcher(self, upstreams: dict[str, Upstream], settings: Settings) -> Dispatcher:
        return Dispatcher(
            upstreams,
            settings.upstreams,
            clock=self._clock,
            rng=random.Random(),  # noqa: S311  (jitter)
            answer_bytes=settings.gateway.limits.answer_bytes,
        )

    def _clients(self, config: UpstreamConfig) -> tuple[Client, Client]:
        found = self._open.get(config.name)
        if found is not None and found[0] == config:
            return found[1], found[2]
        if found is not None:
            self._retired.extend(found[1:])
        clients = self._client(config), self._client(config)
        self._open[config.name] = (config, *clients)
        return clients

    def _client(self, config: UpstreamConfig) -> Client:
        if config.proxy is not None or config.http2:
            return HttpxUpstream(config)
        path = str(self._engine_socket) if config.engine is not None else None
        return HttpUpstream(config, clock=self._clock, socket_path=path)

    def find(self, name: str) -> Upstream | None:
        """Return the client of an upstream; None when it is not there now."""
        found = self._open.get(name)
        return found[1] if found is not None else None

    def pools(self) -> dict[str, tuple[int, int]]:
        """Return connections in use and idle of every upstream, shadows included."""
        numbers: dict[str, tuple[int, int]] = {}
        for name, (_, primary, shadow) in self._open.items():
            both = primary.statistics(), shadow.statistics()
            numbers[name] = (sum(s.in_use for s in both), sum(s.idle for s in both))
        return numbers

    def retire_unused(self, settings: Settings) -> None:
        """Let clients that no configuration names any more end with the requests they carry."""
        for name in [name for name in self._open if name not in settings.upstreams]:
            self._retired.extend(self._open.pop(name)[1:])
        for client in self._retired:
            client.retire()
        self._retired = [client for client in self._retired if client.statistics().in_use]

    async def aclose(self) -> None:
        """Close every connection."""
        for _, primary, shadow in self._open.values():
            await primary.aclose()
            await shadow.aclose()
        for client in self._retired:
            await client.aclose()
        self._open.clear()
        self._retired.clear()
