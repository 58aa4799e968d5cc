"""A predictive model's way through everything: a training file, typed rows, drift, a webhook."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.fake_answers import SeenRequest, Step, whole
from support.fake_upstream import FakeUpstream
from support.running import ROOT, RunningGateway
from support.webhook_receiver import Receiver, receiving

ROWS_A_REQUEST = 20
CONFIG = """
upstreams:
  model: {{url: "{model}"}}
routes:
  churn: {{split: {{model: 1.0}}}}
engine: {{enabled: false}}
monitors: {{every: 1s, window: 6s, false_alarms_per_30d: 300, baseline: null}}
alerts: [{{webhook: {{url: "{hook}", secret: "{secret}", allow_private: true}}}}]
"""
SECRET = "whsec_bG9vcC10ZXN0LXNlY3JldC1vZi0zMi1ieXRlcyEhISE="
DRAWS = random.Random(7)


def customer() -> dict[str, Any]:
    """Draw a row of inputs."""
    plan = DRAWS.choice(["basic", "basic", "pro"])
    return {"income": DRAWS.gauss(4_000, 800), "plan": plan, "active": DRAWS.random() < 0.7}


def predicting(request: SeenRequest) -> Iterator[Step]:
    """Answer with a class and its probability for each row."""
    rows = json.loads(request.body)["instances"]
    answers = [{"label": "stays", "probability": 0.9} for _ in rows]
    yield whole(200, json.dumps({"predictions": answers}).encode())


def ask(gateway: RunningGateway, requests: int, factor: float = 1.0) -> None:
    """Ask about customers by KServe's protocol v1, their income in another unit."""
    for _ in range(requests):
        rows = [customer() for _ in range(ROWS_A_REQUEST)]
        body = {"instances": [{**row, "income": row["income"] * factor} for row in rows]}
        url = f"{gateway.data_url}/v1/models/churn:predict"
        httpx2.post(url, json=body, timeout=20, trust_env=False).raise_for_status()
        time.sleep(0.05)


def events(receiver: Receiver, kind: str) -> list[dict[str, Any]]:
    """Return the events of a type that have come."""
    found = [json.loads(one.body) for one in list(receiver.received)]
    return [event["data"] for event in found if event["type"] == kind]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_change_of_unit_is_told_and_ordinary_rows_are_not(tmp_path: Path) -> None:
    """Rows like the training file's raise nothing; an income in cents is drift of that input."""
    file = tmp_path / "train.csv"
    rows = [customer() for _ in range(2_000)]
    lines = [",".join(str(value).lower() for value in row.values()) for row in rows]
    file.write_text("\n".join([",".join(rows[0]), *lines]))
    with FakeUpstream() as model, receiving() as receiver:
        model.default = predicting
        config = CONFIG.format(model=model.url, hook=receiver.url, secret=SECRET)
        with RunningGateway(tmp_path / "data", config) as gateway:
            command = [sys.executable, "-m", "driftgate", "baseline", "set", "--file", str(file)]
            command += ["--route", "churn", "--server", gateway.control_url]
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=60)
            ask(gateway, 60)
            assert events(receiver, "drift.opened") == []
            deadline_s = time.monotonic() + 40
            while not events(receiver, "drift.opened") and time.monotonic() < deadline_s:
                ask(gateway, 5, factor=100.0)
            (opened,) = events(receiver, "drift.opened")
    assert [one["feature"] for one in opened["features"]] == ["input.income"]
