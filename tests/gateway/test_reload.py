"""What a reload does to requests that are under way."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

CONFIG = """
upstreams:
  fast: {{url: "{url}", version: {version}}}
routes:
  chat: {{split: {{fast: 1.0}}}}
"""
BODY = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Run an upstream."""
    with FakeUpstream() as found:
        yield found


def test_stream_outlives_the_change_of_its_upstream(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A stream under way ends well when its upstream's settings change; its connection goes."""
    upstream.script("slow_tokens:0.1")
    with RunningWorker(tmp_path, CONFIG.format(url=upstream.url, version="v1")) as worker:
        url = f"{worker.url}/v1/chat/completions"
        with httpx2.stream("POST", url, json={**BODY, "stream": True}, timeout=20) as answer:
            lines = answer.iter_lines()
            next(lines)
            worker.configure(CONFIG.format(url=upstream.url, version="v2"))
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        upstream.wait_until_idle()
        assert httpx2.post(url, json=BODY).status_code == 200
        worker.stop()
        (stream, after) = worker.records()
    assert stream.prediction.reason is None
    assert after.prediction.reason is None


def test_idle_connections_of_a_changed_upstream_are_closed(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """What the client of an old configuration kept alive does not stay behind."""
    with RunningWorker(tmp_path, CONFIG.format(url=upstream.url, version="v1")) as worker:
        url = f"{worker.url}/v1/chat/completions"
        assert httpx2.post(url, json=BODY).status_code == 200
        assert upstream.open_connections == 1
        worker.configure(CONFIG.format(url=upstream.url, version="v2"))
        deadline_s = time.monotonic() + 5
        while upstream.open_connections and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert upstream.open_connections == 0
        assert httpx2.post(url, json=BODY).status_code == 200
