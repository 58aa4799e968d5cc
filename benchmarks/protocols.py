"""Our server and client against uvicorn, pyreqwest and aiohttp: the same bare proxy of each pair.

A second server and a second client are worth their code only while they are much cheaper.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nginx
from contender import ROOT, Contender, nginx_proxy, whole
from load import paced, saturate
from peers import CACHE, ready
from processes import free_port, running
from protocol_server import CLIENTS, SERVERS
from stream_client import INTERVAL_S, stream, stream_upstream
from tables import conditions, ratio, spread, table

OURS = "own + own"


@contextmanager
def pairs(upstream: int) -> Iterator[list[Contender]]:
    """Run every pair, and nginx as the floor."""
    script = Path(__file__).with_name("protocol_server.py")
    libraries = CACHE / "libraries"
    if not libraries.exists():
        sys.exit(f"no {libraries}; run `python benchmarks/install_peers.py libraries`")
    environ = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(libraries)])}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = [nginx_proxy(stack, Path(folder) / "nginx", upstream)]
        for server in SERVERS:
            for client in CLIENTS:
                port = free_port()
                command = [sys.executable, str(script), server, client, str(port), str(upstream)]
                process = stack.enter_context(running(command, port=port, environ=environ))
                found.append(whole(f"{server} + {client}", port, process.pid))
        yield [ready(pair) for pair in found]


def measure_plain(
    found: Sequence[Contender], options: argparse.Namespace
) -> dict[str, tuple[list[float], list[float]]]:
    """Return CPU µs a request of each: as many as go, and at the fixed rate."""
    measured: dict[str, tuple[list[float], list[float]]] = {one.name: ([], []) for one in found}
    for one in found:
        saturate(one, options.connections, 1)
    for _ in range(options.rounds):
        for one in found:
            busy, slow = measured[one.name]
            before_s = one.serving_s()
            load = saturate(one, options.connections, options.seconds)
            busy.append((one.serving_s() - before_s) / load.requests * 1e6)
            before_s = one.serving_s()
            sent = paced(one, options.rate, options.connections, options.seconds).requests
            slow.append((one.serving_s() - before_s) / sent * 1e6)
    return measured


def measure_chunks(
    found: Sequence[Contender], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return CPU µs a chunk of each."""
    measured: dict[str, list[float]] = {one.name: [] for one in found}
    for _ in range(options.rounds):
        for one in found:
            before_s = one.serving_s()
            load = stream(one, options.streams, options.chunks)
            if load.lost or load.cut:
                raise RuntimeError(f"{one.name}: {load.lost} chunks lost, {load.cut} streams cut")
            measured[one.name].append((one.serving_s() - before_s) / load.received * 1e6)
    return measured


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--chunks", type=int, default=250)
    options = parser.parse_args()
    print(conditions(), "\n")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream, _ = nginx.static(stack, Path(folder))
        with pairs(upstream) as found:
            requests = measure_plain(found, options)
    with stream_upstream(options.chunks) as upstream, pairs(upstream) as found:
        chunks = measure_chunks(found, options)
    busy, slow = requests[OURS]
    rows = [
        [
            name,
            spread(requests[name][0]),
            ratio(requests[name][0], busy),
            spread(requests[name][1]),
            ratio(requests[name][1], slow),
            spread(chunks[name]),
            ratio(chunks[name], chunks[OURS]),
        ]
        for name in requests
    ]
    header = ["server + client", "CPU µs a request", "× ours", f"CPU µs at {options.rate:g}/s"]
    header += ["× ours", f"CPU µs a chunk ({options.streams} × {INTERVAL_S * 1e3:g} ms)", "× ours"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
