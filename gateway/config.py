"""The whole configuration file: composed of the sections that each folder owns."""

import ipaddress
import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from local_engine.config import EngineConfig
from monitors.alerts.config import ChannelConfig
from monitors.config import MonitorsConfig
from router.config import RouteConfig, UpstreamConfig
from router.durations import DurationSeconds
from storage.config import RecordConfig


class Frozen(BaseModel):
    """A strict, immutable section: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:8080` or `[::1]:8080`; port 0 asks for a free one."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})", address)
    if match is None or int(match[3]) > 65_535:
        raise ValueError(f"`{address}` is not an address; write `HOST:PORT`")
    return match[1] or match[2], int(match[3])


def is_loopback(address: str) -> bool:
    """Say whether only this machine can reach an address."""
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_address(address: str) -> str:
    split_address(address)
    return address


Address = Annotated[str, AfterValidator(_check_address)]


class KeyConfig(Frozen):
    """A client key, stored as its SHA-256."""

    name: str = Field(min_length=1)  # for people: whose key it is
    sha256: str = Field(pattern="^[0-9a-f]{64}$")  # `printf %s KEY | sha256sum`
    tenant: str = "default"  # what the record says of its requests


class LimitsConfig(Frozen):
    """What one worker takes from clients."""

    body_bytes: int = Field(33_554_432, ge=1024)  # larger bodies are answered 413
    stream_bytes: int = Field(1_073_741_824, ge=1024)  # of bodies that are passed on unheld; 413
    header_bytes: int = Field(65_536, ge=1024)  # larger heads are answered 431
    header_count: int = Field(100, ge=8)  # more headers are answered 431
    header_timeout: DurationSeconds = 10.0  # for a whole head to arrive
    body_timeout: DurationSeconds = 60.0  # for a body to arrive, or 64 KiB of one not held
    keep_alive: DurationSeconds = 75.0  # an idle connection is closed then, or at 1/10 if crowded
    tunnel_idle: DurationSeconds = 600.0  # a WebSocket in which nothing moves is closed then
    connections: int = Field(10_000, ge=1)  # open at once; from 3/4 of it on it is crowded
    connections_per_client: int = Field(1_024, ge=1)  # of an address but loopback; more: 429
    in_flight: int = Field(2_000, ge=1)  # requests being answered; more wait
    queue: int = Field(10_000, ge=0)  # requests that may wait for others to end; more get 503
    queue_wait: DurationSeconds = 5.0  # and for so long; then they get 503
    loop_lag: DurationSeconds = 0.05  # while the event loop is so late, fewer are let in at once
    answer_bytes: int = Field(16_777_216, ge=1024)  # a plain answer held before it is sent
    event_bytes: int = Field(1_048_576, ge=1024, le=67_108_864)  # of one event of a stream


class GatewayConfig(Frozen):
    """Addresses, processes, keys and limits."""

    listen: Address = "127.0.0.1:8080"  # of the data plane; port 0: a free one
    control: Address = "127.0.0.1:8081"  # of the web page, the API and /metrics
    workers: int = Field(1, ge=1, le=64)  # data plane processes
    data_dir: str = "./driftgate-data"  # prediction log and database
    keys: tuple[KeyConfig, ...] = ()
    admin_key: SecretStr | None = None  # asked by the control plane when set
    limits: LimitsConfig = LimitsConfig()
    cache_bytes: int = Field(67_108_864, ge=0)  # of all cached answers of a worker
    shutdown_grace: DurationSeconds = 30.0  # for requests in flight


class Settings(Frozen):
    """A whole, checked configuration: a frozen snapshot."""

    gateway: GatewayConfig = GatewayConfig()
    upstreams: dict[str, UpstreamConfig] = Field(min_length=1)
    routes: dict[str, RouteConfig] = Field(min_length=1)
    engine: EngineConfig = EngineConfig()
    record: RecordConfig = RecordConfig()
    monitors: MonitorsConfig = MonitorsConfig()
    alerts: tuple[ChannelConfig, ...] = ()

    @model_validator(mode="after")
    def _names(self) -> Self:
        known = ", ".join(f"`{name}`" for name in self.upstreams)
        for route in self.routes.values():
            used = {"split": route.split, "shadow": route.shadow, "fallback": route.fallback}
            for key, names in used.items():
                for name in names:
                    if name not in self.upstreams:
                        raise ValueError(
                            f"`routes.{route.name}.{key}` names `{name}`, which is no upstream;"
                            f" the upstreams are {known}"
                        )
        engines = [name for name, upstream in self.upstreams.items() if upstream.engine]
        if len(engines) > 1:
            raise ValueError(
                f"`upstreams` names {len(engines)} embedded engines ({', '.join(engines)});"
                " one process runs one, keep one of them"
            )
        return self

    @model_validator(mode="after")
    def _embeddings(self) -> Self:
        routes = ", ".join(f"`{name}`" for name in self.routes)
        chosen = self.monitors.embeddings
        for name, one in chosen.items():
            path = f"monitors.embeddings.{name}"
            for key, route in ((path, name), (f"{path}.by", one.by)):
                if route not in self.routes:
                    raise ValueError(
                        f"`{key}` names `{route}`, which is no route; the routes are {routes}"
                    )
            if one.by in chosen:
                raise ValueError(
                    f"`{path}.by` names `{one.by}`, whose own texts are to be embedded; name a"
                    " route that serves an embedding model alone"
                )
            if self.gateway.keys and one.key is None and one.key_file is None:
                raise ValueError(
                    f"`{path}` needs a `key` or `key_file`: `gateway.keys` asks everyone for one"
                )
        if chosen and self.record.payloads == "none":
            raise ValueError(
                "`monitors.embeddings` needs text, and `record.payloads` is `none`; record it, or"
                " embed nothing"
            )
        return self

    @property
    def engine_upstream(self) -> UpstreamConfig | None:
        """Return the upstream that is the embedded engine, if one is configured and enabled."""
        if not self.engine.enabled:
            return None
        return next((u for u in self.upstreams.values() if u.engine), None)
