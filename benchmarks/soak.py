"""Memory over many requests: it must not grow with them."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import nginx
import psutil
from contender import Contender, driftgate
from load import saturate
from peers import ready
from tables import conditions, table

SETTLE_S = 5.0
ROUND_S = 10


def memory(contender: Contender) -> dict[str, float]:
    """Return MiB resident, by kind of process."""
    found: dict[str, float] = {}
    root = psutil.Process(contender.root)
    for process in [root, *root.children(recursive=True)]:
        words = process.cmdline()
        kind = next((word.strip("_") for word in words if word.startswith("_")), "supervisor")
        resident = process.memory_info().rss / 2**20
        found[kind] = found.get(kind, 0.0) + resident
    return found


def growth(requests: list[int], mib: list[float]) -> float:
    """Return the least-squares slope in KiB a thousand requests, the first quarter left out."""
    start = len(requests) // 4
    xs, ys = requests[start:], mib[start:]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    across = sum((x - mean_x) ** 2 for x in xs)
    along = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return along / across * 1024 * 1000 if across else 0.0


def main() -> None:
    """Load, look at memory all the while, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=30.0, help="at most")
    parser.add_argument("--lines", type=int, default=10, help="of the table")
    options = parser.parse_args()
    print(conditions(), "\n")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream, _ = nginx.static(stack, Path(folder))
        gateway = ready(driftgate(stack, Path(folder) / "driftgate", upstream))
        time.sleep(SETTLE_S)
        counts, seen = [0], [memory(gateway)]
        until_s = time.monotonic() + options.minutes * 60
        while counts[-1] < options.requests and time.monotonic() < until_s:
            load = saturate(gateway, options.connections, ROUND_S)
            counts.append(counts[-1] + load.requests)
            seen.append(memory(gateway))
            print(f"{counts[-1]} requests", file=sys.stderr)
        gateway.whole_s()
        time.sleep(SETTLE_S)
        counts.append(counts[-1])
        seen.append(memory(gateway))
    kinds = sorted(seen[-1])
    every = max(1, len(counts) // options.lines)
    shown = sorted({*range(0, len(counts), every), len(counts) - 2, len(counts) - 1})
    rows = [
        [f"{counts[i]:,}{' and ingested' if i == len(counts) - 1 else ''}"]
        + [f"{seen[i].get(kind, 0.0):.1f}" for kind in kinds]
        for i in shown
    ]
    slopes = [growth(counts, [one.get(kind, 0.0) for one in seen]) for kind in kinds]
    rows.append(["KiB per 1,000 requests", *(f"{slope:.2f}" for slope in slopes)])
    print(table(["requests", *(f"{kind}, RSS MiB" for kind in kinds)], rows))


if __name__ == "__main__":
    main()
