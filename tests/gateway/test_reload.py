"""What a reload does to requests that are under way."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from support.fake_upstream import FakeUpstream
from support.worker import RunningWorker

from gateway.config_source import Source
from gateway.settings import load_settings
from gateway.supervisor import ServeOptions, Supervisor
from router.clock import SystemClock

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


def test_answer_of_before_a_reload_is_not_cached(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A request that was under way when its upstream changed is not what later ones get."""
    upstream.script("late:0.5", "ok")
    config = CONFIG.replace("1.0}}}}", "1.0}}, cache: {{ttl: 1h}}}}")
    with RunningWorker(tmp_path, config.format(url=upstream.url, version="v1")) as worker:
        url = f"{worker.url}/v1/chat/completions"
        with ThreadPoolExecutor() as threads:
            first = threads.submit(httpx2.post, url, json=BODY, timeout=10)
            upstream.wait_for("requests", 1)
            worker.configure(config.format(url=upstream.url, version="v2"))
            assert first.result().headers["x-driftgate-cache"] == "miss"
        answers = [httpx2.post(url, json=BODY) for _ in range(2)]
    assert [answer.headers["x-driftgate-cache"] for answer in answers] == ["miss", "hit"]


@pytest.mark.parametrize(
    ("listen", "insecure", "refused"),
    [("0.0.0.0:0", False, True), ("0.0.0.0:0", True, False), ("127.0.0.1:0", False, False)],
    ids=["open", "insecure", "loopback"],
)
def test_reload_without_keys_opens_nothing(
    tmp_path: Path, listen: str, *, insecure: bool, refused: bool
) -> None:
    """A reload that takes the last key away is refused where others can reach the gateway."""
    path = tmp_path / "driftgate.yaml"
    closed = CONFIG.format(url="http://127.0.0.1:1/v1", version="v1")
    keys = f"gateway: {{keys: [{{name: one, sha256: '{'0' * 64}'}}]}}\n"
    path.write_text(closed + keys)
    options = ServeOptions(Source(path), listen, "127.0.0.1:0", 1, tmp_path, insecure=insecure)
    supervisor = Supervisor(options, load_settings(options.source, {}), SystemClock())
    assert supervisor.reload() == []
    path.write_text(closed)
    problems = supervisor.reload()
    assert bool(problems) is refused
    assert all("`gateway.keys`" in problem for problem in problems)
    assert bool(supervisor.settings.gateway.keys) is refused
