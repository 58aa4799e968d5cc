"""Many paced streams on one worker: lost chunks, added delay of a chunk, CPU a chunk.

Where "took" is much above 1 s + CHUNKS x 20 ms, the machine was too small or too busy for sender,
gateway and reader together: the delays then tell of it, not of the gateway.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from contender import Contender, driftgate, nginx_proxy
from peers import PEERS, ready
from stream_client import INTERVAL_S, Streams, stream, stream_upstream
from tables import conditions, quantile, ratio, spread, table
from wire import ChatRequest


def direct(upstream: int) -> Contender:
    """Return the upstream itself, as if it were a gateway."""
    return Contender("direct", upstream, root=0, serving=[], request=ChatRequest())


class Rounds:
    """What was measured of one contender."""

    def __init__(self) -> None:
        self.loads: list[Streams] = []
        self.chunk_us: list[float] = []
        self.busy: list[float] = []

    def delays_ms(self, share: float) -> list[float]:
        """Return a quantile of the delay, a round each."""
        return [quantile(load.delay_s, share) * 1e3 for load in self.loads]

    def add(self, load: Streams, serving_s: float) -> None:
        """Take one round."""
        self.loads.append(load)
        self.chunk_us.append(serving_s / max(1, load.received) * 1e6)
        self.busy.append(serving_s / load.wall_s)


def row(name: str, one: Rounds, base: Rounds, floor: Rounds) -> list[str]:
    """Return a line of the table."""
    lost = sum(load.lost for load in one.loads)
    wrong = sum(load.disordered + load.cut for load in one.loads)
    p99 = one.delays_ms(0.99)
    added = [a - b for a, b in zip(p99, base.delays_ms(0.99), strict=True)]
    serving = bool(one.chunk_us and one.chunk_us[0])
    return [
        name,
        f"{lost} of {sum(load.expected for load in one.loads)}",
        str(wrong),
        spread(one.delays_ms(0.5), 2),
        spread(p99, 2),
        spread(added, 2),
        spread(one.chunk_us) if serving else "-",
        ratio(one.chunk_us, floor.chunk_us) if serving else "-",
        spread(one.busy, 2) if serving else "-",
        spread([load.wall_s for load in one.loads]),
    ]


HEADER = [
    "",
    "lost chunks",
    "out of order, cut",
    "delay p50 ms",
    "delay p99 ms",
    "p99 less direct's",
    "CPU µs a chunk",
    "× nginx",
    "cores used",
    "took s",
]


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="", help=f"of {', '.join(PEERS)}")
    options = parser.parse_args()
    print(conditions(), "\n")
    with (
        stream_upstream(options.chunks) as upstream,
        tempfile.TemporaryDirectory() as folder,
        ExitStack() as stack,
    ):
        directory = Path(folder)
        running = [
            direct(upstream),
            nginx_proxy(stack, directory / "nginx", upstream),
            driftgate(stack, directory / "driftgate", upstream),
        ]
        named = [name for name in options.peers.split(",") if name]
        running += [PEERS[name](stack, directory / name, upstream) for name in named]
        running = [ready(contender) for contender in running]
        found = {contender.name: Rounds() for contender in running}
        for number in range(options.rounds):
            for contender in running:
                before_s = contender.serving_s()
                load = stream(contender, options.streams, options.chunks)
                found[contender.name].add(load, contender.serving_s() - before_s)
                time.sleep(1.0)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print(f"### {options.streams} streams at once, one chunk each {INTERVAL_S * 1e3:g} ms\n")
    rows = [row(name, one, found["direct"], found["nginx"]) for name, one in found.items()]
    print(table(HEADER, rows))


if __name__ == "__main__":
    main()
