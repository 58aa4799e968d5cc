"""driftgate among other gateways: CPU, added latency, throughput, memory; one interleaved run.

Each stands between the same clients and the same upstream, all at once, and has its turn in every
round; CPU is what the kernel accounts to its processes over that turn.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import nginx
from contender import Contender, driftgate, nginx_proxy, whole
from load import latencies, paced, saturate
from peers import PEERS, MissingPeerError, ready
from stream_client import INTERVAL_S, stream, stream_upstream
from tables import conditions, quantile, ratio, spread, table

SETTLE_S = 3.0


@dataclass
class Found:
    """What was measured of one contender, a value a round.

    Attributes
    ----------
    busy_us, busy_whole_us : list of float
        CPU a request under wrk: serving processes, all processes.
    rate : list of float
        Requests a second under wrk.
    paced_us : list of float
        CPU of the serving processes a request at the fixed rate; NaN when it cannot serve it.
    paced_p99_ms : list of float
        Latency at the fixed rate, waiting for a connection included.
    chunk_us, chunk_whole_us : list of float
        CPU a streamed chunk.
    p50_ms, p99_ms : float
        Latency at concurrency 1.
    idle_mib, loaded_mib : tuple of float
        Resident memory: serving processes, all processes.
    """

    busy_us: list[float] = field(default_factory=list)
    busy_whole_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    paced_us: list[float] = field(default_factory=list)
    paced_p99_ms: list[float] = field(default_factory=list)
    chunk_us: list[float] = field(default_factory=list)
    chunk_whole_us: list[float] = field(default_factory=list)
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    idle_mib: tuple[float, float] = (0.0, 0.0)
    loaded_mib: tuple[float, float] = (0.0, 0.0)


Findings = dict[str, Found]


@contextmanager
def contenders(
    names: Sequence[str], pythons: Sequence[str], upstream: int
) -> Iterator[list[Contender]]:
    """Run nginx, driftgate and the named peers before one upstream; leave out what is missing."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        running = [
            nginx_proxy(stack, directory / "nginx", upstream),
            driftgate(stack, directory / "driftgate", upstream),
        ]
        for python in pythons:
            label, _, path = python.partition("=")
            other = driftgate(stack, directory / label, upstream, python=path)
            running.append(replace(other, name=f"driftgate ({label})"))
        for name in names:
            try:
                running.append(PEERS[name](stack, directory / name, upstream))
            except (MissingPeerError, RuntimeError) as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
        yield [ready(contender) for contender in running]


def measure_plain(running: Sequence[Contender], options: argparse.Namespace) -> Findings:
    """Measure requests that are answered at once."""
    found = {contender.name: Found() for contender in running}
    time.sleep(SETTLE_S)
    for contender in running:
        found[contender.name].idle_mib = contender.rss()
    for contender in running:
        saturate(contender, options.connections, options.warm_up)
    for number in range(options.rounds):
        for contender in running:
            _busy_round(contender, found[contender.name], options)
        for contender in running:
            _paced_round(contender, found[contender.name], options)
        print(f"requests: round {number + 1} of {options.rounds}", file=sys.stderr)
    for contender in running:
        found[contender.name].loaded_mib = contender.rss()
    return found


def _busy_round(contender: Contender, found: Found, options: argparse.Namespace) -> None:
    before_s, before_whole_s = contender.serving_s(), contender.whole_s()
    load = saturate(contender, options.connections, options.seconds)
    serving_s = contender.serving_s() - before_s
    found.busy_us.append(serving_s / load.requests * 1e6)
    found.busy_whole_us.append((contender.whole_s() - before_whole_s) / load.requests * 1e6)
    found.rate.append(load.rate)


def _paced_round(contender: Contender, found: Found, options: argparse.Namespace) -> None:
    # Nearer to its limit than this it would be a measurement of the queue before it.
    if found.rate[-1] * 0.7 < options.rate:
        found.paced_us.append(math.nan)
        found.paced_p99_ms.append(math.nan)
        return
    before_s = contender.serving_s()
    load = paced(contender, options.rate, options.connections, options.seconds)
    found.paced_us.append((contender.serving_s() - before_s) / load.requests * 1e6)
    found.paced_p99_ms.append(quantile(load.latency_s, 0.99) * 1e3)


def measure_latency(
    running: Sequence[Contender], direct: Contender, found: Findings, options: argparse.Namespace
) -> None:
    """Measure one request at a time, the upstream itself in turn with those before it."""
    measured = latencies([direct, *running], options.requests, options.latency_seconds)
    for name, seconds in measured.items():
        one = found.setdefault(name, Found())
        one.p50_ms = quantile(seconds, 0.5) * 1e3
        one.p99_ms = quantile(seconds, 0.99) * 1e3


def measure_chunks(
    running: Sequence[Contender], found: Findings, options: argparse.Namespace
) -> None:
    """Measure streams of chunks; one that loses any is said, one without any gets no figure."""
    for number in range(options.rounds):
        for contender in running:
            before_s, before_whole_s = contender.serving_s(), contender.whole_s()
            load = stream(contender, options.streams, options.chunks)
            serving_s = contender.serving_s() - before_s
            whole_s = contender.whole_s() - before_whole_s
            if load.cut or load.lost or load.disordered:
                print(f"{contender.name}: lost {load.lost}, cut {load.cut}", file=sys.stderr)
            if load.received:
                one = found[contender.name]
                one.chunk_us.append(serving_s / load.received * 1e6)
                one.chunk_whole_us.append(whole_s / load.received * 1e6)
        print(f"streams: round {number + 1} of {options.rounds}", file=sys.stderr)


def cpu_table(found: Findings, options: argparse.Namespace) -> str:
    """Return CPU a request."""
    header = [
        "",
        "CPU µs a request",
        "all its processes",
        "× nginx",
        "× Envoy",
        f"CPU µs at {options.rate:g}/s",
        "× nginx",
        "× Envoy",
    ]
    floor, envoy = found["nginx"], found.get("envoy", Found())
    rows = [
        [
            name,
            spread(one.busy_us),
            spread(one.busy_whole_us),
            ratio(one.busy_us, floor.busy_us),
            ratio(one.busy_us, envoy.busy_us),
            spread(one.paced_us) if any(us > 0 for us in one.paced_us) else "cannot serve it",
            ratio(one.paced_us, floor.paced_us),
            ratio(one.paced_us, envoy.paced_us),
        ]
        for name, one in found.items()
        if one.busy_us
    ]
    return table(header, rows)


def latency_table(found: Findings, direct: str, options: argparse.Namespace) -> str:
    """Return latency, throughput and memory."""
    header = [
        "",
        "added p50 ms",
        "added p99 ms",
        f"p99 ms at {options.rate:g}/s",
        f"requests/s at {options.connections} connections",
        "RSS MiB idle (all)",
        "RSS MiB loaded (all)",
    ]
    base = found[direct]
    rows = [
        [
            name,
            f"{one.p50_ms - base.p50_ms:.3f}",
            f"{one.p99_ms - base.p99_ms:.3f}",
            spread(one.paced_p99_ms, 2),
            spread(one.rate, 0),
            f"{one.idle_mib[0]:.0f} ({one.idle_mib[1]:.0f})",
            f"{one.loaded_mib[0]:.0f} ({one.loaded_mib[1]:.0f})",
        ]
        for name, one in found.items()
        if one.busy_us
    ]
    return table(header, rows)


def chunk_table(found: Findings) -> str:
    """Return CPU a chunk."""
    header = ["", "CPU µs a chunk", "all its processes", "× nginx"]
    floor = found["nginx"].chunk_us
    rows = [
        [name, spread(one.chunk_us), spread(one.chunk_whole_us), ratio(one.chunk_us, floor)]
        for name, one in found.items()
    ]
    return table(header, rows)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=",".join(PEERS), help="beside nginx; none: nginx alone")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1000.0, help="of the paced view, a second")
    parser.add_argument("--requests", type=int, default=10_000, help="one at a time, to each")
    parser.add_argument("--latency-seconds", type=float, default=120.0)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--chunks", type=int, default=250)
    options = parser.parse_args()
    options.peers = [name for name in options.peers.split(",") if name not in {"", "none", "nginx"}]
    unknown = sorted(set(options.peers) - set(PEERS))
    if unknown:
        parser.error(f"--peers: {', '.join(unknown)}; known are {', '.join(PEERS)}")
    return options


def main() -> None:
    """Run the measurements and print their tables."""
    options = arguments()
    print(conditions(), "\n")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port, pid = nginx.static(stack, Path(folder))
        direct = whole("direct", port, pid)
        with contenders(options.peers, options.python, port) as running:
            found = measure_plain(running, options)
            measure_latency(running, direct, found, options)
    print(f"### Requests: {options.connections} connections; and {options.rate:g} a second\n")
    print(cpu_table(found, options), "\n")
    print(f"### One at a time; direct: p50 {found['direct'].p50_ms:.3f} ms,", end=" ")
    print(f"p99 {found['direct'].p99_ms:.3f} ms\n")
    print(latency_table(found, "direct", options), "\n")
    with (
        stream_upstream(options.chunks) as port,
        contenders(options.peers, options.python, port) as running,
    ):
        found = {contender.name: Found() for contender in running}
        measure_chunks(running, found, options)
    print(f"### Chunks: {options.streams} streams, one chunk each {INTERVAL_S * 1e3:g} ms\n")
    print(chunk_table(found))


if __name__ == "__main__":
    main()
