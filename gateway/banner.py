"""What `monitor serve` says of itself once it serves: URLs and security posture."""

import sys
from pathlib import Path
from typing import Any, Protocol

from gateway.config import Settings, is_loopback


class Served(Protocol):
    """What of the supervisor's options is shown."""

    @property
    def source(self) -> object:
        """Where the configuration came from."""
        ...

    @property
    def data_dir(self) -> Path:
        """Where the prediction log lives."""
        ...


def banner(
    settings: Settings, options: Served, data: tuple[Any, ...], control: tuple[Any, ...]
) -> str:
    """Return the lines; addresses are `getsockname` of the listening sockets."""
    data_at, control_at = shown_address(data), shown_address(control)
    has_keys, has_admin = bool(settings.gateway.keys), settings.gateway.admin_key is not None
    routes = ", ".join(f"{r.name} → {_split(r.split)}" for r in settings.routes.values())
    lines = [
        f"driftgate serves http://{data_at}/v1   (configuration: {options.source})",
        f'  client     OpenAI(base_url="http://{data_at}/v1")',
        f"  routes     {routes}",
        f"  control    http://{control_at}/   metrics http://{control_at}/metrics",
        f"  log        {options.data_dir}   payload text: {settings.record.payloads}",
        f"  security   data plane: {_posture(data_at, closed=has_keys)}",
        f"             control plane: {_posture(control_at, closed=has_admin)}",
    ]
    return "\n".join(lines)


def print_banner(
    settings: Settings, options: Served, data: tuple[Any, ...], control: tuple[Any, ...]
) -> None:
    """Write the banner to stderr: stdout is for data."""
    sys.stderr.write(banner(settings, options, data, control) + "\n")
    sys.stderr.flush()


def shown_address(name: tuple[Any, ...]) -> str:
    """Return `HOST:PORT` of a socket's name."""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _posture(address: str, *, closed: bool) -> str:
    reach = "this machine only" if is_loopback(address) else "REACHABLE FROM ELSEWHERE"
    return f"{reach}, {'asks for keys' if closed else 'open (no keys)'}"


def _split(split: dict[str, float]) -> str:
    return " + ".join(f"{name} {share:.0%}" for name, share in split.items())
