"""What `monitor doctor` looks at: each check says what it found, and the way out."""

import contextlib
import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gateway.api.db_shapes import DbReport
from gateway.config import Settings, split_address
from gateway.exposure import open_addresses
from local_engine.config import DEFAULT_MODEL
from local_engine.errors import ModelInvalid, ModelNotFound
from local_engine.models import find_model, model_places
from router.config import UpstreamConfig

_CONNECT_S = 3.0
_LITTLE_SPACE_BYTES = 1_000_000_000
_NO_SPACE_BYTES = 100_000_000
_MUCH_LAG_BYTES = 67_108_864
_CLOCK_SLACK_US = 60_000_000
_FIRST_US = 1_767_225_600_000_000  # 2026: this program is not older
_DEFAULT_PORTS = {"http": 80, "https": 443}


class State(StrEnum):
    """How a check went; `warn` does not make the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Area(StrEnum):
    """What a failed check means for the exit code."""

    CONFIGURATION = "configuration"
    STORAGE = "storage"
    OTHER = "other"


class Check(msgspec.Struct, frozen=True):
    """One finding."""

    name: str
    state: State
    message: str
    area: Area = Area.OTHER


class Examination(msgspec.Struct, frozen=True):
    """All findings, and the sizes and forecast they rest on; None where there is no log yet."""

    checks: tuple[Check, ...]
    db: DbReport | None = None
    version: int = 1


def check_exposure(settings: Settings) -> Check:
    """Say whether someone else could use the gateway without a key."""
    gateway = settings.gateway
    problems = open_addresses(settings, listen=gateway.listen, control=gateway.control)
    if problems:
        return Check("exposure", State.FAIL, "; ".join(problems), Area.CONFIGURATION)
    keys = f"{len(gateway.keys)} client keys" if gateway.keys else "no client keys, loopback only"
    admin = "a key" if gateway.admin_key else "no key, loopback only"
    return Check("exposure", State.OK, f"data plane: {keys}; control plane: {admin}")


def check_folder(data_dir: Path) -> Check:
    """Say whether the data directory can be written to, or made."""
    place = next(p for p in (data_dir, *data_dir.parents) if p.exists())
    if not place.is_dir():
        message = f"{place} is a file, not a folder; name another `gateway.data_dir`"
        return Check("data_dir", State.FAIL, message, Area.STORAGE)
    probe = place / f".doctor-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        message = f"{place} cannot be written to: {error.strerror}; name another `gateway.data_dir`"
        return Check("data_dir", State.FAIL, message, Area.STORAGE)
    made = "" if place == data_dir else " does not exist yet and can be made"
    return Check("data_dir", State.OK, f"{data_dir}{made or ' is writable'}")


def check_space(data_dir: Path) -> Check:
    """Say whether the disk has room."""
    place = next(p for p in (data_dir, *data_dir.parents) if p.exists())
    free = shutil.disk_usage(place).free
    message = f"{free / 1e9:.1f} GB are free on the disk of {place}"
    if free < _NO_SPACE_BYTES:
        message += "; requests will soon be unlogged or refused, free space"
        return Check("disk", State.FAIL, message, Area.STORAGE)
    if free < _LITTLE_SPACE_BYTES:
        return Check("disk", State.WARN, f"{message}; free space, or lower `record.retention`")
    return Check("disk", State.OK, message)


def check_clock(now_us: int, report: DbReport | None) -> Check:
    """Say whether the clock can be right."""
    newest = report.info.newest_at if report is not None else None
    if now_us < _FIRST_US:
        return Check("clock", State.FAIL, "the clock stands before 2026; set it")
    if newest is not None and newest > now_us + _CLOCK_SLACK_US:
        ahead = (newest - now_us) / 1e6
        message = f"the newest prediction lies {ahead:.0f} s in the future: the clock went back"
        return Check("clock", State.WARN, message)
    return Check("clock", State.OK, "no prediction lies in the future")


def check_log(report: DbReport) -> Iterator[Check]:
    """Say how far the log has got, what it lost, and where it is going."""
    info = report.info
    told = f"{info.predictions:,} predictions, schema {info.schema_version}"
    yield Check("database", State.OK, told)
    behind = f"{info.lag_bytes:,} bytes of the spool are not in the database"
    if info.lag_bytes > _MUCH_LAG_BYTES:
        message = f"{behind}; see whether the control plane runs and has CPU and disk"
        yield Check("lag", State.WARN, message)
    else:
        yield Check("lag", State.OK, behind)
    told = f"{info.text_lag_bytes:,} bytes of the spool have text that is in no file yet"
    state = State.OK if info.text_lag_bytes <= _MUCH_LAG_BYTES else State.WARN
    yield Check("text lag", state, told)
    if info.losses:
        found = ", ".join(f"{kind}: {count}" for kind, count in info.losses.items())
        yield Check("losses", State.WARN, f"the spool lost or changed records ({found})")
    forecast = report.forecast
    if forecast.full_in_days is not None:
        message = f"the disk is full in {forecast.full_in_days} days; lower `record.retention`"
        yield Check("forecast", State.WARN, message)
    elif not any(kind.bytes_per_day for kind in forecast.kinds):
        yield Check("forecast", State.OK, "none before a whole day is recorded")
    else:
        steady = f"steady at {forecast.steady_bytes / 1e9:.1f} GB in {forecast.steady_in_days} days"
        yield Check("forecast", State.OK, steady)


def check_port(name: str, address: str) -> Check:
    """Say whether an address is free to listen on."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        message = f"`{name}` {address}: {error.strerror}; stop who has it, or name another"
        return Check(name, State.FAIL, message)
    return Check(name, State.OK, f"{address} is free")


def check_engine(settings: Settings, environment: Mapping[str, str]) -> Check:
    """Say whether the embedded engine and its model are there; downloads nothing."""
    upstream = settings.engine_upstream
    if upstream is None:
        return Check("engine", State.OK, "none is configured")
    if importlib.util.find_spec("llama_cpp") is None:
        message = "the embedded engine is not installed; install `driftgate[engine]`"
        return Check("engine", State.FAIL, message)
    model = upstream.model or DEFAULT_MODEL
    try:
        path = find_model(model, model_places(settings.engine.models_dir, environment))
    except (ModelNotFound, ModelInvalid) as error:
        return Check("engine", State.FAIL, str(error))
    if path is None:
        return Check("engine", State.WARN, f"`{model}` will be downloaded at the first start")
    return Check("engine", State.OK, f"{model}: {path}")


def check_upstreams(settings: Settings) -> list[Check]:
    """Say which upstreams take a connection; nothing is sent to them."""
    remote = [one for one in settings.upstreams.values() if one.url is not None]
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(remote)))) as pool:
        return list(pool.map(_check_upstream, remote))


def _check_upstream(upstream: UpstreamConfig) -> Check:
    assert upstream.url is not None, "an engine has no address"
    name, parts = f"upstream {upstream.name}", urlsplit(upstream.url)
    try:
        if parts.scheme == "unix":
            shown = parts.path
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
                probe.settimeout(_CONNECT_S)
                probe.connect(parts.path)
        else:
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
            shown = f"{parts.hostname}:{port}"
            socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        via = "; it is reached by a proxy, which was not asked" if upstream.proxy else ""
        why = error.strerror or str(error)
        return Check(name, State.WARN if via else State.FAIL, f"{shown}: {why}{via}")
    return Check(name, State.OK, f"{shown} takes connections")
