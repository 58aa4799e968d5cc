"""What is compared: something that stands between a client and an upstream."""

import hashlib
import re
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import nginx
from processes import await_port, cpu_s, free_port, rss_bytes, running, tree
from wire import KEY, ChatRequest

START_S = 120.0
ROOT = Path(__file__).resolve().parent.parent
_LAG = re.compile(rb"^driftgate_ingest_lag_bytes ([\d.e+]+)$", re.MULTILINE)
_CONFIG = """
upstreams:
  up: {{url: "http://127.0.0.1:{upstream}/v1", max_connections: 4096}}
  down: {{url: "http://127.0.0.1:9/v1"}}
routes:
  chat: {{split: {{up: 1.0}}, fallback: [down], sticky: user}}
gateway:
  keys: [{{name: bench, sha256: "{key}"}}]
engine: {{enabled: false}}
{more}
"""


class Setup(NamedTuple):
    """What a driftgate has beyond what all are compared with.

    Attributes
    ----------
    data : Path or None
        Its data directory; None is a new one.
    config : str
        Further sections of its configuration file.
    """

    data: Path | None = None
    config: str = ""


NO_SETUP = Setup()


@dataclass(frozen=True)
class Contender:
    """A running gateway.

    Attributes
    ----------
    name : str
    port : int
    root : int
        Process id of the parent of all its processes.
    serving : list of int
        Process ids of those that requests go through.
    request : ChatRequest
    control : int or None
        Port of driftgate's control plane.
    config : Path or None
        Driftgate's configuration file.
    """

    name: str
    port: int
    root: int
    serving: list[int]
    request: ChatRequest = field(default_factory=ChatRequest)
    control: int | None = None
    config: Path | None = None

    @property
    def url(self) -> str:
        """Address of driftgate's control plane."""
        return f"http://127.0.0.1:{self.control}"

    def serving_s(self) -> float:
        """Return the CPU of the processes that requests go through."""
        return cpu_s(self.serving)

    def whole_s(self) -> float:
        """Return the CPU of all its processes, once everything answered is in the database."""
        if self.control is not None:
            await_ingest(self.control)
        return cpu_s(tree(self.root))

    def rss(self) -> tuple[float, float]:
        """Return MiB resident: of the serving processes, and of all."""
        return rss_bytes(self.serving) / 2**20, rss_bytes(tree(self.root)) / 2**20


def whole(name: str, port: int, root: int, request: ChatRequest | None = None) -> Contender:
    """Return a contender of which every process serves."""
    return Contender(name, port, root, tree(root), request or ChatRequest())


def nginx_proxy(stack: ExitStack, home: Path, upstream: int) -> Contender:
    """Start the floor."""
    port, pid = nginx.proxy(stack, home, upstream)
    return whole("nginx", port, pid)


def driftgate(
    stack: ExitStack,
    home: Path,
    upstream: int,
    *,
    python: str = sys.executable,
    wrap: Sequence[str] = (),
    setup: Setup = NO_SETUP,
) -> Contender:
    """Start driftgate with keys, plan, fallback chain and full recording on.

    Parameters
    ----------
    stack : ExitStack
        Ends it.
    home : Path
        For its files; made here.
    upstream : int
        Port.
    python : str
        Interpreter of an environment with driftgate's dependencies.
    wrap : sequence of str
        A command that runs it, such as a profiler.
    setup : Setup
        What else it has.
    """
    home.mkdir(parents=True)
    path = home / "driftgate.yaml"
    key = hashlib.sha256(KEY.encode()).hexdigest()
    path.write_text(_CONFIG.format(upstream=upstream, key=key, more=setup.config))
    port, control = free_port(), free_port()
    command = [*wrap, python, "-m", "driftgate", "serve", "--config", str(path)]
    command += ["--port", str(port), "--control", f"127.0.0.1:{control}"]
    command += ["--data-dir", str(setup.data or home / "data")]
    process = stack.enter_context(running(command, port=port, cwd=ROOT, timeout_s=START_S))
    await_port(control, process, START_S)
    await_ingest(control)
    workers = _workers(process.pid)
    return Contender("driftgate", port, process.pid, workers, control=control, config=path)


def _workers(root: int) -> list[int]:
    """Return the processes that serve, which the supervisor starts after it listens."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in tree(root)}
        found = [pid for pid, line in lines.items() if b"\0_worker\0" in line]
        if found:
            return found
        time.sleep(0.1)
    raise RuntimeError("driftgate has no worker")


def await_ingest(control: int, timeout_s: float = 300.0) -> None:
    """Wait until the control plane says that the spool is in the database."""
    deadline_s = time.monotonic() + timeout_s
    url = f"http://127.0.0.1:{control}/metrics"
    while time.monotonic() < deadline_s:
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = _LAG.search(answer.read())
        # A STATS frame a second keeps it from being zero for long.
        if found is not None and float(found[1]) < 10_000:
            return
        time.sleep(0.2)
    raise RuntimeError("ingest does not catch up")
