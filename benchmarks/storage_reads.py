"""Every read of the command line over a week of predictions, each in a fresh process.

Wall and CPU of the command's own process, imports included; with a server running, also the CPU
that the server spent on it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import nginx
from contender import ROOT, Contender, Setup, driftgate
from processes import cpu_s, tree
from tables import table

from storage.database import Database

_LOOK = (str(ROOT / "benchmarks/storage_look.py"),)
_LOOKS = ("1", "24", "168")
_HEADER = ("command", "from", "wall s, best", "median", "worst", "CPU s", "server's CPU s")


class Taken(NamedTuple):
    """Seconds of one run; `server_s` is 0 without one."""

    wall_s: float
    cpu_s: float
    server_s: float


def reads(rounds: int, data: Path) -> str:
    """Measure the commands on the bare file, then against a server that has it."""
    found: dict[tuple[str, str], list[Taken]] = {}
    commands = _commands(data)
    for _ in range(rounds):
        for name, words in commands.items():
            found.setdefault((name, "file"), []).append(_run(words, data, None))
        for hours in _LOOKS:
            name = f"the monitor's look, {hours} h, four routes"
            found.setdefault((name, "file"), []).append(_taken([*_LOOK, str(data), hours], None))
    with serving(data) as gateway:
        for _ in range(rounds):
            for name, words in commands.items():
                if "--offline" not in words:
                    found.setdefault((name, "server"), []).append(_run(words, data, gateway))
    return table(_HEADER, list(_rows(found)))


@contextmanager
def serving(data: Path, config: str = "") -> Iterator[Contender]:
    """Run a gateway on a data directory, before an upstream that answers at once."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream, _ = nginx.static(stack, Path(folder))
        setup = Setup(data=data, config=config)
        yield driftgate(stack, Path(folder) / "driftgate", upstream, setup=setup)


def _commands(data: Path) -> dict[str, Sequence[str]]:
    """Return what is run, by how it is shown."""
    database = Database.open_read_only(data)
    with database.cursor() as cursor:
        ids = cursor.execute(
            "SELECT id::VARCHAR FROM predictions USING SAMPLE reservoir(1 ROWS) REPEATABLE (7)"
        ).fetchall()
    database.close()
    where = "latency_s > 5 AND response_tokens > 1000"
    hour = ("--since", "3d", "--until", "71h")
    return {
        "report --since 7d": ("report", "--since", "7d"),
        "report --since 7d --exact": ("report", "--since", "7d", "--exact"),
        "report --since 7d --offline": ("report", "--since", "7d", "--offline"),
        "report --since 24h": ("report", "--since", "24h"),
        "report --since 7d --route chat": ("report", "--since", "7d", "--route", "chat"),
        "report --since 7d --model model-primary-chat-1": (
            "report",
            "--since",
            "7d",
            "--model",
            "model-primary-chat-1",
        ),
        "logs": ("logs", "--since", "24h"),
        "logs --errors --since 7d": ("logs", "--errors", "--since", "7d"),
        "logs --where ... --since 7d": ("logs", "--where", where, "--since", "7d"),
        "logs ID": ("logs", ids[0][0]),
        "export, Parquet, an hour": ("export", "--format", "parquet", *hour, "--output", "{out}"),
        "export, CSV, an hour": ("export", "--format", "csv", *hour, "--output", "{out}"),
        "sql, a count by route": ("sql", "SELECT route, count(*) FROM predictions GROUP BY ALL"),
        "db info": ("db", "info"),
        "doctor": ("doctor",),
        "baseline list": ("baseline", "list"),
        "baseline show": ("baseline", "show", "--route", "chat"),
        "alerts list": ("alerts", "list", "--since", "7d"),
    }


def _run(words: Sequence[str], data: Path, gateway: Contender | None) -> Taken:
    """Run a command of the command line."""
    with tempfile.TemporaryDirectory() as folder:
        line = ["-m", "driftgate", *(word.format(out=Path(folder) / "out") for word in words)]
        line += ["--data-dir", str(data)]
        if gateway is not None:
            line += ["--config", str(gateway.config), "--server", gateway.url]
        return _taken(line, gateway)


def _taken(line: Sequence[str], gateway: Contender | None) -> Taken:
    """Run a fresh process of this interpreter.

    Raises
    ------
    RuntimeError
        It failed; what it said is in the message.
    """
    with tempfile.TemporaryFile() as said:
        server = _server_clock(gateway)
        before_s, server_s = time.perf_counter(), server()
        process = subprocess.Popen(
            [sys.executable, *line],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - before_s
        process.returncode = os.waitstatus_to_exitcode(status)
        # `doctor` fails for what this machine lacks.
        if process.returncode and "doctor" not in line:
            said.seek(0)
            raise RuntimeError(f"{' '.join(line)}: {said.read()[-500:].decode(errors='replace')}")
        return Taken(wall_s, usage.ru_utime + usage.ru_stime, server() - server_s)


def _server_clock(gateway: Contender | None) -> Callable[[], float]:
    if gateway is None:
        return lambda: 0.0
    pids = tree(gateway.root)
    return lambda: cpu_s(pids)


def _rows(found: dict[tuple[str, str], list[Taken]]) -> Iterator[list[str]]:
    for (name, source), runs in sorted(found.items(), key=lambda item: item[0][1]):
        walls = sorted(run.wall_s for run in runs)
        middle = sorted(runs)[len(runs) // 2]
        yield [
            name,
            source,
            *(f"{value:.2f}" for value in (walls[0], middle.wall_s, walls[-1])),
            f"{middle.cpu_s:.2f}",
            f"{middle.server_s:.2f}" if source == "server" else "-",
        ]
