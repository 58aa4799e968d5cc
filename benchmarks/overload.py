"""What is left of a worker's answers when many more clients ask than it can answer.

The processor is what is short: nginx answers as the upstream. Each connection sends its next
request as soon as it has an answer, also when that is a refusal, so the worker is offered as much
as it takes. While it is hammered so, a new client connects again and again and asks once.
"""

import argparse
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import nginx
from contender import Contender, driftgate
from load import Saturated, hammer
from peers import ready
from tables import conditions, spread, table
from wire import connect, exchange

COUNTS = (64, 640, 2_500, 5_000)
PAUSE_S = 0.05


@dataclass
class Found:
    """What rounds with one number of connections said, a value a round."""

    goodput: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p50_s: list[float] = field(default_factory=list)
    p99_s: list[float] = field(default_factory=list)
    new_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)

    def add(self, run: Saturated, cpu_s: float, newcomer_s: float, rss_mib: float) -> None:
        """Take one round."""
        answered = run.requests - run.refused
        self.goodput.append(run.rate * answered / run.requests)
        self.refused.append(run.rate * run.refused / run.requests)
        self.cpu_us.append(cpu_s / answered * 1e6 if answered else float("nan"))
        self.p50_s.append(run.p50_s)
        self.p99_s.append(run.p99_s)
        self.new_s.append(newcomer_s)
        self.rss_mib.append(rss_mib)


class Newcomer(threading.Thread):
    """Connects and asks again and again; `longest_s` is what it waited at most."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(daemon=True)
        self._port, self._request = contender.port, contender.request.wire()
        self._ended = threading.Event()
        self.longest_s = 0.0

    def run(self) -> None:
        """Ask until stopped."""
        while not self._ended.wait(PAUSE_S):
            before_s = time.perf_counter()
            with connect(self._port) as connection:
                exchange(connection, self._request)
            self.longest_s = max(self.longest_s, time.perf_counter() - before_s)

    def stop(self) -> float:
        """Ask no more; return the longest wait."""
        self._ended.set()
        self.join(60)
        return self.longest_s


def measure(gateway: Contender, connections: int, options: argparse.Namespace, to: Found) -> None:
    """Hammer for one round."""
    newcomer = Newcomer(gateway)
    before_s = gateway.serving_s()
    newcomer.start()
    headers = {"Connection": "close"} if options.close else {}
    run = hammer(gateway, connections, options.seconds, headers)
    used_s = gateway.serving_s() - before_s
    to.add(run, used_s, newcomer.stop(), gateway.rss()[0])


def rows(found: dict[int, Found]) -> list[list[str]]:
    """Return the table's lines; the first number of connections is what others compare with."""
    base = next(iter(found.values()))
    return [
        [
            f"{connections:,}",
            spread(one.goodput, 0),
            spread([a / b for a, b in zip(one.goodput, base.goodput, strict=True)], 2),
            spread(one.refused, 0),
            spread(one.cpu_us, 0),
            spread([1e3 * value for value in one.p50_s], 0),
            spread([1e3 * value for value in one.p99_s], 0),
            spread([1e3 * value for value in one.new_s], 0),
            spread(one.rss_mib, 0),
        ]
        for connections, one in found.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--close", action="store_true", help="a connection for each request")
    options = parser.parse_args()
    print(conditions())
    found = {connections: Found() for connections in COUNTS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream, _ = nginx.static(stack, Path(folder))
        gateway = ready(driftgate(stack, Path(folder) / "driftgate", upstream))
        for _ in range(options.rounds):
            for connections, one in found.items():
                measure(gateway, connections, options, one)
    header = ["connections", "answers/s", "of the first line's", "refusals/s", "CPU µs an answer"]
    header += ["p50 ms", "p99 ms", "a new client waits, ms at most", "worker's RSS MiB"]
    print(table(header, rows(found)))


if __name__ == "__main__":
    main()
