"""SIGKILL of any process, under load: nothing acknowledged is lost, nothing stands twice."""

import asyncio
import signal
from pathlib import Path

import pytest
from support.audit import Ledger, load, verdict
from support.fake_upstream import FakeUpstream
from support.running import RunningGateway

CONFIG = """
upstreams:
  fast: {{url: "{url}"}}
  local: {{engine: llama.cpp}}
routes:
  fast: {{split: {{fast: 1.0}}, fallback: [local]}}
  engine: {{split: {{local: 1.0}}, timeouts: {{first_token: 5s, total: 20s}}}}
engine: {{slots: 2, context_tokens: 512, threads: 1}}
"""
KILLS = 10


async def kill_under_load(
    gateway: RunningGateway, targets: tuple[str, ...], ledger: Ledger
) -> None:
    """Kill processes ten times each, every time once they run again."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(load(gateway.data_url, ledger, {"fast": 12, "engine": 2}, stop))
        try:
            for _ in range(KILLS):
                before = ledger.answered["fast"]
                children = [await asyncio.to_thread(gateway.child, name) for name in targets]
                await asyncio.sleep(0.6)
                for child in children:
                    child.send_signal(signal.SIGKILL)
                for child in children:
                    await asyncio.to_thread(child.wait, 10)
                deadline = asyncio.get_running_loop().time() + 30
                while ledger.answered["fast"] < before + 5:
                    assert asyncio.get_running_loop().time() < deadline, gateway.log
                    await asyncio.sleep(0.05)
        finally:
            stop.set()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("targets", [("_worker",), ("_control", "_engine")], ids=["worker", "rest"])
def test_sigkill_loses_nothing(tmp_path: Path, targets: tuple[str, ...]) -> None:
    """Ten SIGKILLs each: 0 acknowledged lost, 0 duplicated, every begun answer has its row."""
    ledger = Ledger()
    with (
        FakeUpstream() as upstream,
        RunningGateway(tmp_path / "data", CONFIG.format(url=upstream.url)) as gateway,
    ):
        asyncio.run(kill_under_load(gateway, targets, ledger))
        assert gateway.terminate() == 0, gateway.log
    found = verdict(ledger, tmp_path / "data")
    print(found, dict(ledger.answered), dict(ledger.failed))  # noqa: T201  (the figures of the audit)
    assert found["acknowledged"] > 100
    assert (found["lost"], found["duplicated"], found["begun_without_row"]) == (0, 0, 0)
    if "_worker" not in targets:
        assert ledger.failed["fast"] == 0, "requests are answered while the others are down"
