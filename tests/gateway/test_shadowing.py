"""What the record says of shadows."""

import time
from pathlib import Path

import httpx2
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

CONFIG = """
upstreams:
  fast: {{url: "{fast}"}}
  slow: {{url: "{slow}"}}
routes:
  chat: {{split: {{fast: 1.0}}, shadow: {{slow: 1.0}}, timeouts: {{total: 300ms}}}}
"""
BODY = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}]}


def test_shadow_that_never_answers_is_its_upstreams_fault(tmp_path: Path) -> None:
    """Time that is up is counted against the shadow's upstream, not as a client that left."""
    with FakeUpstream() as fast, FakeUpstream("stall") as slow:
        config = CONFIG.format(fast=fast.url, slow=slow.url)
        with RunningWorker(tmp_path, config) as worker:
            assert httpx2.post(f"{worker.url}/v1/chat/completions", json=BODY).status_code == 200
            deadline_s = time.monotonic() + 5
            while len(worker.records()) < 2 and time.monotonic() < deadline_s:
                time.sleep(0.02)
            (shadow,) = [r for r in worker.records() if r.prediction.role == "shadow"]
    assert shadow.prediction.reason == "upstream_timeout"
    assert [attempt.reason for attempt in shadow.attempts] == ["upstream_timeout"]
