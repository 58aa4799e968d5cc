"""Real drift through the running system: what alarms, how soon, and what stays quiet.

`PYTHONPATH=. python benchmarks/real_drift.py [--only NAME] [--json FILE]`, after
`python benchmarks/real_drift_data.py`. Data sets and their changes: `real_drift_data.py`.

Every set runs through a gateway of its own: a model server answers KServe's protocol v1 with the
data set's own predictions, a client sends the rows as inputs, webhooks arrive at a receiver. A look
stands for five minutes: `--every 2` makes the looks of 30 days last 4.8 hours, and the budget is
set so that each look has what it would have in 30 days with one false alarm. Looks that a slow
machine skips make those that are left larger; the tables count the looks that there were, and the
fixed rules get rows in looks of the same size.

Four routes at once: the analysis against the reference from a file; the same against a baseline of
replayed traffic; and, to stay quiet, a half of the reference against the other, as it comes and
shuffled.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
from contender import ROOT, await_ingest
from processes import await_port, free_port, running
from real_drift_data import (
    FOLDER,
    SETS,
    Column,
    DataSet,
    chosen_rows,
    inputs_of,
    outputs_of,
    read,
    rows_of,
    write,
)
from real_drift_tables import Route, Seen, document, markdown, restored
from real_drift_wire import Pace, Peers, Sent, replay, serve
from tables import conditions

LOOKS_IN_30_DAYS = 8_640
MOST_QUIET = 50
"""Looks of each quiet stretch."""
TRAFFIC_LOOKS = 20
"""Looks of the reference that are replayed to become a baseline."""
_SECRET = "whsec_" + "YmVuY2htYXJr" * 3
_CONFIG = """
upstreams:
  model: {{url: "http://127.0.0.1:{model}/v1"}}
routes:
{routes}
engine: {{enabled: false}}
monitors:
  every: {every}
  window: {window}
  false_alarms_per_30d: {budget}
  baseline: null
alerts:
  - webhook: {{url: "http://127.0.0.1:{model}/hook", secret: {secret}, allow_private: true}}
"""
_VERDICTS = """
SELECT monitor, route, segment, feature, epoch_us("at"), verdict, value, details
FROM verdicts WHERE monitor IN ('drift', 'quality') ORDER BY "at"
"""


class Options(NamedTuple):
    """How everything is replayed."""

    every_s: float
    rows_a_request: int
    most_looks: int


class Gateway(NamedTuple):
    """A running driftgate, and what stands around it."""

    port: int
    control: int
    home: Path
    peers: Peers

    def monitor(self, *words: str) -> str:
        """Run the command line; return what it says."""
        command = [sys.executable, "-m", "driftgate", *words]
        command += ["--config", str(self.home / "driftgate.yaml")]
        command += ["--server", f"http://127.0.0.1:{self.control}"]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def sql(self, statement: str) -> list[list[Any]]:
        """Return the rows of a statement."""
        url = f"http://127.0.0.1:{self.control}/api/v1/sql"
        asked = {"sql": statement, "limit": 100_000}
        answer = httpx2.post(url, json=asked, timeout=60)
        answer.raise_for_status()
        rows: list[list[Any]] = answer.json()["rows"]
        return rows


def routes_of(data: DataSet, most_looks: int) -> list[Route]:
    """Return what is replayed of a data set."""
    reference, analysis = read(data, data.reference), read(data, data.analysis)
    look, size = data.rows_a_look, reference["label"].size
    first, second = slice(0, size // 2), slice(size // 2, size)
    order = np.random.default_rng(0).permutation(size)
    mixed = chosen_rows(reference, order)
    quiet = slice(0, min(MOST_QUIET, most_looks) * look)
    analysis = chosen_rows(analysis, slice(0, most_looks * look))
    found = [
        Route(data.name, "file", reference, analysis, data.known),
        Route(
            f"{data.name}-quiet",
            "file",
            chosen_rows(reference, first),
            chosen_rows(chosen_rows(reference, second), quiet),
            (),
        ),
        Route(
            f"{data.name}-shuffled",
            "file",
            chosen_rows(mixed, first),
            chosen_rows(chosen_rows(mixed, second), quiet),
            (),
        ),
    ]
    if size >= TRAFFIC_LOOKS * look:
        taught = chosen_rows(reference, slice(size - TRAFFIC_LOOKS * look, size))
        found.append(Route(f"{data.name}-traffic", "traffic", taught, analysis, data.known))
    return found


def answers_of(columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Return what the model answers to each row."""
    return [
        {"label": label} if np.isnan(score) else {"label": label, "probability": float(score)}
        for label, score in zip(columns["label"], columns["score"], strict=True)
    ]


async def run_route(gateway: Gateway, route: Route, data: DataSet, options: Options) -> Sent:
    """Give a route its baseline, and replay its rows."""
    names = inputs_of(route.rows)
    pace = Pace(data.rows_a_look / options.every_s, options.rows_a_request)
    if route.baseline == "file":
        path = gateway.home / f"{route.name}.parquet"
        inputs = {name: route.reference[name] for name in names}
        write({**inputs, **outputs_of(route.reference)}, path)
        words = ["baseline", "set", "--file", str(path), "--route", route.name]
    else:
        gateway.peers.answers[route.name] = answers_of(route.reference)
        await replay(gateway.port, route.name, rows_of(route.reference, names), pace)
        await asyncio.to_thread(await_ingest, gateway.control)
        words = ["baseline", "set", "--since", "1h", "--route", route.name]
    print(await asyncio.to_thread(gateway.monitor, *words), end="", file=sys.stderr)
    gateway.peers.answers[route.name] = answers_of(route.rows)
    # A look that finds no rows yet: where its detectors begin.
    await asyncio.sleep(options.every_s * 2)
    sent = await replay(gateway.port, route.name, rows_of(route.rows, names), pace)
    await asyncio.sleep(options.every_s * 2)
    return sent


async def run_set(data: DataSet, options: Options) -> list[Seen]:
    """Replay one data set; return what was seen on each route."""
    peers, routes = Peers(), routes_of(data, options.most_looks)
    server, model = await serve(peers)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home, port, control = Path(folder), free_port(), free_port()
        config = _CONFIG.format(
            model=model,
            routes="\n".join(f"  {route.name}: {{split: {{model: 1.0}}}}" for route in routes),
            every=options.every_s,
            window=options.every_s * 12,
            budget=30 * 86_400 / options.every_s / LOOKS_IN_30_DAYS,
            secret=_SECRET,
        )
        (home / "driftgate.yaml").write_text(config)
        command = [sys.executable, "-m", "driftgate", "serve", "--data-dir", str(home / "data")]
        command += ["--config", str(home / "driftgate.yaml"), "--port", str(port)]
        command += ["--control", f"127.0.0.1:{control}", "--workers", "1"]
        process = stack.enter_context(running(command, port=port, cwd=ROOT, timeout_s=120))
        await asyncio.to_thread(await_port, control, process, 120)
        gateway = Gateway(port, control, home, peers)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_route(gateway, r, data, options)) for r in routes]
        await asyncio.to_thread(await_ingest, control)
        await asyncio.sleep(options.every_s * 2)
        verdicts = await asyncio.to_thread(gateway.sql, _VERDICTS)
    server.close()
    return [
        seen_of(route, task.result(), verdicts, peers)
        for route, task in zip(routes, tasks, strict=True)
    ]


def seen_of(route: Route, sent: Sent, verdicts: list[list[Any]], peers: Peers) -> Seen:
    """Return the episodes of a route, their times as rows that had been sent by then."""

    def row_at(at_us: int) -> int:
        place = bisect_right(sent.at_us, at_us) - 1
        return sent.rows[place] if place >= 0 else -1

    opened: list[dict[str, Any]] = []
    was_open: dict[tuple[str, str], bool] = {}
    looks = set()
    for monitor, name, segment, feature, at, _verdict, value, details in verdicts:
        if name != route.name or segment:
            continue
        told = json.loads(details) if isinstance(details, str) else details
        looks.add(at)
        now = told.get("open") is True
        if now and not was_open.get((monitor, feature), False):
            opened.append(
                {
                    "monitor": monitor,
                    "feature": feature.removeprefix("input."),
                    "row": row_at(at),
                    "onset_row": row_at(told["onset_at"]) if "onset_at" in told else None,
                    "value": value,
                    "source": told.get("source"),
                    "cause": told.get("cause"),
                }
            )
        was_open[monitor, feature] = now
    hooks = [hook.body for hook in peers.hooks if hook.body["data"].get("route") == route.name]
    kinds = [str(body["type"]) for body in hooks]
    last_us = sent.at_us[-1] + 10_000_000
    rows = [row_at(at) for at in sorted(looks) if sent.at_us[0] <= at <= last_us]
    return Seen(route, rows, opened, kinds, sent.refused)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def main() -> None:
    """Replay, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [data.name for data in SETS]
    parser.add_argument("--only", action="append", choices=names, default=[])
    parser.add_argument("--every", type=float, default=2.0, help="seconds of a look")
    parser.add_argument("--rows-a-request", type=int, default=5)
    parser.add_argument("--most-looks", type=int, default=1_000, help="of each data set")
    parser.add_argument("--json", type=Path, help="write everything that was seen here")
    parser.add_argument("--render", type=Path, nargs="*", help="show these files, replay nothing")
    given = parser.parse_args()
    if not FOLDER.exists():
        parser.error("there are no data sets; run benchmarks/real_drift_data.py")
    if given.render:
        told = {name: one for file in given.render for name, one in _read(file).items()}
        chosen = [data for data in SETS if data.name in told]
        shown = {d.name: restored(told[d.name], routes_of(d, given.most_looks)) for d in chosen}
        print(markdown(shown))
        return
    options = Options(given.every, given.rows_a_request, given.most_looks)
    print(conditions(), "\n")
    found = {}
    for data in SETS:
        if given.only and data.name not in given.only:
            continue
        started_s = time.monotonic()
        found[data.name] = asyncio.run(run_set(data, options))
        print(f"{data.name}: {time.monotonic() - started_s:.0f} s", file=sys.stderr)
        if given.json:
            given.json.write_text(json.dumps(document(found), indent=1))
    print(markdown(found))


if __name__ == "__main__":
    main()
