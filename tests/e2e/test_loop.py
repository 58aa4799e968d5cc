"""The whole loop: requests in; rows, metrics, panels, a signed webhook and a report out."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from standardwebhooks import Webhook
from support.fake_answers import SeenRequest, Step, ok, script_named
from support.fake_upstream import FakeUpstream
from support.prometheus import Prometheus, scraping
from support.promql import filled, targets
from support.running import ROOT, RunningGateway
from support.visitors import LONG, SHORT, Visitors
from support.webhook_receiver import Receiver, receiving

from dashboards.files import BOARDS, board_text

SECRET = "whsec_bG9vcC10ZXN0LXNlY3JldC1vZi0zMi1ieXRlcyEhISE="
LIVE = {"$__rate_interval": "15s", "$job": ".+", "$instance": ".+", "$route": ".+"}
CONFIG = """
upstreams:
  steady:
    url: "{steady}"
    prices: {{"*": {{input: 0.5, output: 2}}}}
  canary: {{url: "{canary}"}}
  gone: {{url: "http://127.0.0.1:9/v1"}}
routes:
  broken: {{split: {{gone: 1.0}}}}
  chat:
    split: {{steady: 0.8, canary: 0.2}}
    shadow: {{canary: 0.2}}
    fallback: [steady]
  cached: {{split: {{steady: 1.0}}, cache: {{ttl: 1h}}}}
  embed: {{split: {{steady: 1.0}}}}
engine: {{enabled: false}}
monitors: {{every: 1s, window: 8s, min_samples: 30,
  embeddings: {{cached: {{by: embed, sample: 5}}}}, features: {{
  latency_s: {{enabled: false}}, ttft_s: {{enabled: false}},
  time_per_output_token_s: {{enabled: false}}, cost_usd: {{enabled: false}},
  tool_calls: {{enabled: false}}, unknown_tool: {{enabled: false}}}}}}
alerts: [{{webhook: {{url: "{hook}", secret: "{secret}", allow_private: true}}}}]
"""


class Loop(NamedTuple):
    """What a test of this file looks at."""

    gateway: RunningGateway
    visitors: Visitors
    receiver: Receiver
    prometheus: Prometheus


def sometimes_failing(request: SeenRequest) -> Iterator[Step]:
    """Answer soundly four times of five, else 503."""
    failing = len(request.body) % 5 == 0
    yield from script_named("status:503")(request) if failing else ok(request)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Run everything, with visitors on every route."""
    folder = tmp_path_factory.mktemp("loop")
    bodies: dict[str, dict[str, object]] = {
        "chat": {"user": "ann"},
        "cached": {"max_tokens": 5},
        "broken": {},
        "nobody": {},
    }
    with FakeUpstream() as steady, FakeUpstream() as canary, receiving() as receiver:
        canary.default = sometimes_failing
        config = CONFIG.format(
            steady=steady.url, canary=canary.url, hook=receiver.url, secret=SECRET
        )
        with (
            RunningGateway(folder / "data", config) as gateway,
            scraping(f"{gateway.control_url}/metrics") as prometheus,
            Visitors(gateway.data_url, bodies) as visitors,
            Visitors(gateway.data_url, {"chat": {"stream": True}}, pause_s=0.02) as streams,
        ):
            # A reference of fewer rows is one of a variant's luck.
            visitors.wait_for(300)
            baseline(gateway)
            yield Loop(gateway, streams, receiver, prometheus)


def baseline(gateway: RunningGateway) -> None:
    """Make what has come so far the reference of `chat`."""
    deadline_s = time.monotonic() + 20
    while True:
        answer = httpx2.post(
            f"{gateway.control_url}/api/v1/baselines",
            json={"route": "chat", "since": "1h"},
            trust_env=False,
            timeout=30,
        )
        if answer.is_success or time.monotonic() > deadline_s:
            break
        time.sleep(0.5)
    assert answer.is_success, answer.text


def webhook(receiver: Receiver, kind: str, timeout_s: float) -> dict[str, Any]:
    """Wait for an event; verify its signature with the reference implementation."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        for one in list(receiver.received):
            event: dict[str, Any] = Webhook(SECRET).verify(one.body, one.headers)
            if event["type"] == kind:
                return event
        time.sleep(0.1)
    raise AssertionError(f"no `{kind}`; came: {[r.body[:200] for r in receiver.received]}")


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_drift_opens_and_resolves_one_alert(loop: Loop) -> None:
    """Longer prompts in another language raise one signed alert; the old ones resolve it."""
    loop.visitors.prompts = LONG
    opened = webhook(loop.receiver, "drift.opened", 45)
    drifted = {feature["feature"] for feature in opened["data"]["features"]}
    assert drifted & {"prompt_chars", "language", "prompt_tokens"}
    assert all(feature["n_current"] >= 30 for feature in opened["data"]["features"])
    loop.visitors.prompts = SHORT
    resolved = webhook(loop.receiver, "drift.resolved", 75)
    assert resolved["data"]["alert_id"] == opened["data"]["alert_id"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_panel_has_data(loop: Loop) -> None:
    """Every query of the shipped board returns numbers from a real Prometheus, as is."""
    board = json.loads(board_text(BOARDS[0]))
    missing = {target.name: filled(target.expr, LIVE) for target in targets(board)}
    deadline_s = time.monotonic() + 60
    while missing and time.monotonic() < deadline_s:
        for name, expression in list(missing.items()):
            found = loop.prometheus.query(expression)
            if found and not any(math.isnan(sample.value) for sample in found):
                del missing[name]
        time.sleep(1)
    assert not missing


@pytest.mark.slow
def test_metrics_are_clean(loop: Loop) -> None:
    """`promtool check metrics` finds nothing to say, and the scrape is healthy."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: run `make servers`"
    body = httpx2.get(f"{loop.gateway.control_url}/metrics", trust_env=False).content
    done = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert loop.prometheus.targets()[0]["health"] == "up"


@pytest.mark.slow
def test_report_agrees_with_the_metrics(loop: Loop) -> None:
    """The command line asks the running server, and counts what the metrics count."""
    command = [sys.executable, "-m", "driftgate", "report", "--since", "1h", "--format", "json"]
    command += ["--server", loop.gateway.control_url]
    metric = 'sum(driftgate_requests_total{role="primary"})'
    before = loop.prometheus.query(metric)[0].value
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    time.sleep(2.5)
    after = loop.prometheus.query(metric)[0].value
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    counted = sum(row["n"] for row in report["traffic"] if row["role"] == "primary")
    assert before <= counted <= after
    assert {row["variant"] for row in report["traffic"]} == {"steady", "canary", "gone"}


@pytest.mark.slow
def test_report_from_the_bare_file(loop: Loop, tmp_path: Path) -> None:
    """A copy of the data directory, left-over log included, is reported on without a server."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("driftgate.duckdb", "driftgate.duckdb.wal"):
        if (loop.gateway.data_dir / name).exists():
            shutil.copy(loop.gateway.data_dir / name, copy / name)
    command = [sys.executable, "-m", "driftgate", "report", "--since", "1h", "--format", "json"]
    done = subprocess.run(
        [*command, "--data-dir", str(copy)],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert sum(row["n"] for row in json.loads(done.stdout)["traffic"]) > 60
