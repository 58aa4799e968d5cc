"""What a client notices of the log: 99th percentile beside its work, and what `durability` costs.

The control plane is kept busy on purpose, again and again for as long as a window lasts, while
requests go through the worker; windows with and without work take turns.
"""

import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

import nginx
from contender import Contender, Setup, await_ingest, driftgate
from load import latencies, paced
from peers import ready
from storage_reads import serving
from storage_samples import plain, spool_us, without_text
from tables import quantile, ratio, spread, table

from gateway.paths import spool_dir

RATE = 200.0
CLIENTS = 32
ALONE = "nothing"
_MOST = 1_000_000
_ANSWER_S = 300.0

Work = Callable[[], AbstractContextManager[object]]


def beside(rounds: int, data: Path, *, seconds: float = 8.0, backlog: int = 150_000) -> str:
    """Measure the 99th percentile of requests beside each kind of work.

    Parameters
    ----------
    data : Path
        A data directory of a week, see `storage_fill`.
    seconds : float
        Length of one window.
    backlog : int
        Records without text to ingest in a window: some 150,000 fill the write-ahead log, so that
        a checkpoint is among the work.
    """
    one: dict[str, list[float]] = {}
    many: dict[str, list[float]] = {}
    ends = without_text(plain(1_000)) * max(1, backlog // 1_000)
    with serving(data) as gateway:
        ready(gateway)
        works: dict[str, Work] = {
            ALONE: nullcontext,
            "ingest of a backlog, checkpoint": lambda: _backlog(
                data, lambda to: spool_us(to, ends, 32)
            ),
            "`report --since 7d`, again and again": lambda: _asking(gateway, "report?since=7d"),
            "the same, `--exact`": lambda: _asking(gateway, "report?since=7d&exact=true"),
            "`db compact`": lambda: _asking(gateway, "db/compact", "POST"),
        }
        for _ in range(rounds):
            for name, work in works.items():
                with work():
                    each_s = latencies([gateway], _MOST, seconds)["driftgate"]
                one.setdefault(name, []).append(1e3 * quantile(each_s, 0.99))
                await_ingest(gateway.control or 0)
                with work():
                    of_many_s = paced(gateway, RATE, CLIENTS, seconds).latency_s
                many.setdefault(name, []).append(1e3 * quantile(of_many_s, 0.99))
                await_ingest(gateway.control or 0)
    header = [
        "beside",
        "one client, p99 ms",
        "to alone",
        f"{CLIENTS} at {RATE:.0f}/s, p99 ms",
        "to alone",
    ]
    rows = [
        [
            name,
            spread(one[name], 2),
            ratio(one[name], one[ALONE]),
            spread(many[name], 2),
            ratio(many[name], many[ALONE]),
        ]
        for name in works
    ]
    return table(header, rows)


@contextmanager
def _backlog(data: Path, write: Callable[[Path], object]) -> Iterator[None]:
    """Give the ingest more to do than it can in a window."""
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        write(Path(folder))
        for path in sorted(Path(folder).glob("*.seg")):
            path.rename(spool_dir(data) / path.name)
        yield


@contextmanager
def _asking(gateway: Contender, path: str, method: str = "GET") -> Iterator[None]:
    """Ask the control plane for something until the window is over, each time when it answered.

    Raises
    ------
    RuntimeError
        Not one request was answered well; what was said is in the message.
    """
    over = threading.Event()
    refused: list[str] = []
    answered: list[int] = []

    def ask() -> None:
        while not over.is_set():
            request = urllib.request.Request(f"{gateway.url}/api/v1/{path}", method=method)  # noqa: S310 (loopback)
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310 (loopback)
                    answered.append(len(answer.read()))
            except urllib.error.HTTPError as error:
                # One kind of work at a time: what is under way says 503 to the next.
                refused.append(error.read().decode(errors="replace"))
                over.wait(1.0)
            except OSError as error:
                refused.append(str(error))
                over.wait(1.0)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_ANSWER_S)
    if not answered:
        raise RuntimeError(f"{method} {path}: {refused[-1:]}")


def durability(rounds: int, *, seconds: float = 5.0) -> str:
    """Measure what waiting for the disk adds to a request, one client at a time."""
    found: dict[str, dict[float, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream, _ = nginx.static(stack, Path(folder))
        gateways = {
            kind: ready(
                driftgate(
                    stack,
                    Path(folder) / kind,
                    upstream,
                    setup=Setup(config=f"record: {{durability: {kind}}}"),
                )
            )
            for kind in ("process", "disk")
        }
        for _ in range(rounds):
            for kind, gateway in gateways.items():
                each_s = latencies([gateway], _MOST, seconds)["driftgate"]
                for share in (0.5, 0.99):
                    values = found.setdefault(kind, {}).setdefault(share, [])
                    values.append(1e3 * quantile(each_s, share))
    header = ["`record.durability`", "p50 ms", "p99 ms", "added to p50, ms", "added to p99, ms"]
    rows = []
    for kind, by_share in found.items():
        added = [
            [a - b for a, b in zip(by_share[share], found["process"][share], strict=True)]
            for share in (0.5, 0.99)
        ]
        rows.append(
            [kind, *(spread(by_share[s], 2) for s in (0.5, 0.99)), *(spread(a, 2) for a in added)]
        )
    return table(header, rows)
