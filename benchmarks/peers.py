"""The other gateways, each as a minimal OpenAI chat proxy; `install_peers.py` installs them."""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from contender import Contender, whole
from processes import free_port, running, tree
from wire import ChatRequest, connect, exchange

START_S = 90.0
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftgate" / "bench"
"""One folder a peer; outside the checkout, so that no project environment changes."""

_ENVOY = {
    "listener": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}
                    ],
                }
            ]
        },
    },
    # Its default of 1,024 would refuse part of a thousand streams.
    "breakers": {"thresholds": [{"max_connections": 8192, "max_requests": 8192}]},
}
_TENSORZERO = """
[gateway]
observability.enabled = false
[models.chat]
routing = ["up"]
[models.chat.providers.up]
type = "openai"
model_name = "chat"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "none"
"""
_TENSORZERO_MAIN = (
    "import sys, time\n"
    "from tensorzero.tensorzero import _start_http_gateway as start\n"
    "gateway = start(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None,\n"
    "                valkey_url=None, async_setup=False)\n"
    "open(sys.argv[2], 'w').write(gateway.base_url)\n"
    "time.sleep(86400)\n"
)
_LITELLM = """
model_list:
- model_name: chat
  litellm_params: {{model: openai/chat, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
litellm_settings: {{telemetry: false}}
"""


class MissingPeerError(Exception):
    """A peer is not installed."""


def envoy(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """One worker thread, no access log."""
    binary = _program(CACHE / "envoy/bin", "envoy")
    home.mkdir(parents=True)
    port = free_port()
    backend = {"endpoint": {"address": _address(upstream)}}
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _ENVOY["listener"],
    }
    config = {
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [{"filters": [manager]}]}],
            "clusters": [
                {
                    "name": "up",
                    "type": "STATIC",
                    "circuit_breakers": _ENVOY["breakers"],
                    "load_assignment": {
                        "cluster_name": "up",
                        "endpoints": [{"lb_endpoints": [backend]}],
                    },
                }
            ],
        }
    }
    path = home / "envoy.json"
    path.write_text(json.dumps(config))
    command = [binary, "-c", str(path), "--concurrency", "1", "--log-level", "off"]
    command += ["--use-dynamic-base-id"]
    process = stack.enter_context(running(command, port=port, timeout_s=START_S))
    return whole("envoy", port, process.pid)


def vllm_router(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """Round robin over one worker; the log says errors only."""
    binary = _program(CACHE / "vllm-router/bin", "vllm-router")
    return _router(stack, "vllm-router", [binary], upstream, home)


def smg(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """Round robin over one worker; the log says errors only."""
    binary = _program(CACHE / "smg/bin", "smg")
    return _router(stack, "smg", [binary, "launch"], upstream, home)


def tensorzero(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """Observability off: nothing is recorded. The gateway of the Python package, over HTTP."""
    python = _program(CACHE / "tensorzero/bin", "python")
    home.mkdir(parents=True)
    path, said = home / "tensorzero.toml", home / "address"
    path.write_text(_TENSORZERO.format(upstream=upstream))
    command = [python, "-c", _TENSORZERO_MAIN, str(path), str(said)]
    process = stack.enter_context(running(command, port=None))
    deadline_s = time.monotonic() + START_S
    while not (said.exists() and said.read_text()):
        if time.monotonic() > deadline_s or process.poll() is not None:
            raise RuntimeError("tensorzero does not start")
        time.sleep(0.1)
    address = said.read_text().split("/")[2]
    request = ChatRequest(path="/openai/v1/chat/completions", model="tensorzero::model_name::chat")
    return whole("tensorzero", int(address.rpartition(":")[2]), process.pid, request)


def litellm(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """One worker, no key, no database, no callbacks."""
    binary = _program(CACHE / "litellm/bin", "litellm")
    home.mkdir(parents=True)
    port, path = free_port(), home / "litellm.yaml"
    path.write_text(_LITELLM.format(upstream=upstream))
    environ = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    command = [binary, "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--telemetry", "False"]
    process = stack.enter_context(
        running(command, port=port, environ=environ, cwd=home, timeout_s=START_S)
    )
    return whole("litellm", port, process.pid)


def portkey(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """One process, no console; the upstream is named in the request's headers."""
    node = shutil.which("node")
    if node is None:
        raise MissingPeerError("node is not on PATH")
    script = _program(CACHE / "portkey", "node_modules/@portkey-ai/gateway/build/start-server.js")
    home.mkdir(parents=True)
    port = free_port()
    environ = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"}
    command = [node, script, f"--port={port}", "--headless"]
    process = stack.enter_context(
        running(command, port=port, environ=environ, cwd=home, timeout_s=START_S)
    )
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    return whole("portkey", port, process.pid, ChatRequest(headers=headers))


PEERS: dict[str, Callable[[ExitStack, Path, int], Contender]] = {
    "envoy": envoy,
    "vllm-router": vllm_router,
    "smg": smg,
    "tensorzero": tensorzero,
    "portkey": portkey,
    "litellm": litellm,
}


def ready(contender: Contender, timeout_s: float = START_S) -> Contender:
    """Wait until a contender passes a chat on; return it with the processes that it then has.

    Routers look for their workers first, and nginx listens before it has a process that serves.
    """
    said = ""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            with connect(contender.port) as connection:
                answer = exchange(connection, contender.request.wire())
        except OSError as error:
            said = str(error)
        else:
            said = answer.text
            if answer.ok and "Jupiter" in said:
                known = contender.control is not None or not contender.root
                return contender if known else replace(contender, serving=tree(contender.root))
        time.sleep(0.2)
    raise RuntimeError(f"{contender.name} does not pass chats on: {said}")


def _router(
    stack: ExitStack, name: str, command: list[str], upstream: int, home: Path
) -> Contender:
    home.mkdir(parents=True)
    port = free_port()
    command = [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    command += ["--worker-urls", f"http://127.0.0.1:{upstream}", "--policy", "round_robin"]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())]
    command += ["--max-concurrent-requests", "4096"]
    process = stack.enter_context(running(command, port=port, cwd=home, timeout_s=START_S))
    return whole(name, port, process.pid)


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _program(folder: Path, pattern: str) -> str:
    """Return a program of a peer's folder.

    Raises
    ------
    MissingPeerError
    """
    found = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    if not found:
        raise MissingPeerError(f"no {pattern} in {folder}; run benchmarks/install_peers.py")
    return str(found[0])
