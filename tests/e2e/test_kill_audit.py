"""SIGKILL of any process, under load: nothing acknowledged is lost, nothing stands twice."""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from support.audit import Ledger, load, verdict
from support.fake_upstream import FakeUpstream
from support.faults import count_all
from support.running import RunningGateway

CONFIG = """
gateway: {{workers: 2}}
upstreams:
  fast: {{url: "{fast}"}}
  slow: {{url: "{slow}"}}
  local: {{engine: llama.cpp}}
routes:
  fast: {{split: {{fast: 1.0}}, fallback: [local]}}
  slow: {{split: {{slow: 1.0}}}}
  engine: {{split: {{local: 1.0}}, timeouts: {{first_token: 5s, total: 20s}}}}
engine: {{slots: 2, context_tokens: 512, threads: 1}}
record: {{segment_bytes: 262144, segment_age_s: 5}}
"""
ROUNDS = int(os.environ.get("KILL_ROUNDS", "8"))
"""The audit of record is of 100: `KILL_ROUNDS=100 pytest tests/e2e/test_kill_audit.py`."""
CONCURRENT = {"fast": 24, "slow": 40, "engine": 2}
CASES = (("_worker",), ("_worker", "_worker"), ("_control",), ("_worker", "_control"), ("_engine",))


def living(gateway: RunningGateway, name: str) -> list[psutil.Process]:
    """Return the children of a kind that run now."""
    found = []
    for child in psutil.Process(gateway.process.pid).children():
        try:
            if name in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def kill(gateway: RunningGateway, case: tuple[str, ...], draw: random.Random) -> list[str]:
    """Send SIGKILL to as many children of each kind as the case names; return whom it met."""
    killed = []
    for name, wanted in Counter(case).items():
        children = living(gateway, name)
        for child in draw.sample(children, min(wanted, len(children))):
            child.send_signal(signal.SIGKILL)
            killed.append(name)
    return killed


async def kill_under_load(gateway: RunningGateway, ledger: Ledger) -> Counter[str]:
    """Kill at random moments, whatever happens to run; answers must come again each time."""
    draw, killed, stop = random.Random(4), Counter[str](), asyncio.Event()
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        group.create_task(load(gateway.data_url, ledger, CONCURRENT, stop))
        try:
            for number in range(ROUNDS):
                await asyncio.sleep(draw.uniform(0.05, 0.9))
                case = CASES[number % len(CASES)]
                killed.update(await asyncio.to_thread(kill, gateway, case, draw))
                before, deadline = ledger.answered["fast"], loop.time() + 30
                while ledger.answered["fast"] < before + 100:
                    assert loop.time() < deadline, gateway.log
                    await asyncio.sleep(0.02)
        finally:
            stop.set()
    return killed


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_sigkill_loses_nothing(tmp_path: Path) -> None:
    """SIGKILLs at random: 0 acknowledged lost, 0 duplicated, every begun answer has its row."""
    ledger = Ledger()
    with (
        FakeUpstream() as fast,
        FakeUpstream("slow_tokens:0.05") as slow,
        RunningGateway(tmp_path / "data", CONFIG.format(fast=fast.url, slow=slow.url)) as gateway,
    ):
        killed = asyncio.run(kill_under_load(gateway, ledger))
        assert gateway.terminate() == 0, gateway.log
    found, counted = verdict(ledger, tmp_path / "data"), count_all(tmp_path / "data")
    print(found, "killed", dict(killed), dict(ledger.answered), dict(ledger.failed))  # noqa: T201  (the figures of the audit)
    assert killed["_worker"] >= ROUNDS // 2
    assert found["acknowledged"] > 100 * ROUNDS
    assert found["interrupted"] > 0, "no stream was cut: the audit saw nothing"
    assert (found["lost"], found["duplicated"], found["begun_without_row"]) == (0, 0, 0)
    assert (counted["rollups"], counted["without_text"]) == (counted["facts"], 0)
