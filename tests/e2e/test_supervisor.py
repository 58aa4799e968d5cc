"""The whole program, started and ended as its users do it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from support.fake_upstream import FakeUpstream
from support.running import ROOT, RunningGateway

HELLO = [{"role": "user", "content": "Say hello."}]
CONFIG = """
upstreams:
  fast: {{url: "{url}"}}
routes:
  {route}: {{split: {{fast: 1.0}}}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """Run an upstream for all tests here."""
    with FakeUpstream() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(
    upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """Run a gateway without an engine for the tests that leave it as it was."""
    directory = tmp_path_factory.mktemp("gateway")
    config = CONFIG.format(url=upstream.url, route="chat")
    with RunningGateway(directory / "data", config) as found:
        yield found


@pytest.fixture(scope="module")
def engine_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Run a gateway that nobody configured."""
    directory = tmp_path_factory.mktemp("engine")
    with RunningGateway(directory / "data", None) as found:
        yield found


def until(what: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Wait until something is so; say whether it came to be."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if what():
            return True
        time.sleep(0.02)
    return False


def models(gateway: RunningGateway) -> set[str]:
    """Return the models on offer."""
    found = httpx2.get(f"{gateway.data_url}/v1/models", timeout=10).json()
    return {model["id"] for model in found["data"]}


def is_ready(gateway: RunningGateway) -> bool:
    """Return what `/readyz` says."""
    return httpx2.get(f"{gateway.data_url}/readyz", timeout=10).status_code == 200


def ask(gateway: RunningGateway, model: str = "chat", **body: object) -> httpx2.Response:
    """Send one request."""
    return httpx2.post(
        f"{gateway.data_url}/v1/chat/completions",
        json={"model": model, "messages": HELLO, **body},
        timeout=60,
    )


def serve(directory: Path, *arguments: str, config: str | None = None) -> tuple[int, str]:
    """Start a gateway that is to refuse; return its exit code and what it said."""
    if config is not None:
        path = directory / "refused.yaml"
        path.write_text(config)
        arguments = ("--config", str(path), *arguments)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "DRIFTGATE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "driftgate", "serve", "--control", "127.0.0.1:0", *arguments],
        env=environ | {"PYTHONPATH": str(ROOT)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_banner_comes_at_once(
    gateway: RunningGateway, record_property: Callable[[str, object], None]
) -> None:
    """URLs and security posture are told within seconds of the start."""
    record_property("banner_s", gateway.banner_s)
    print(f"banner after {gateway.banner_s:.2f} s")  # noqa: T201  (a figure of the project)
    assert gateway.banner_s < 5.0
    assert "data plane: this machine only, open" in gateway.log
    assert str(gateway.data_dir) in gateway.log


def test_requests_are_answered(gateway: RunningGateway) -> None:
    """What the banner promises is served: data plane, control plane, metrics."""
    assert ask(gateway).headers["x-driftgate-upstream"] == "fast"
    for path in ("/healthz", "/metrics", "/"):
        assert httpx2.get(gateway.control_url + path, timeout=10).status_code == 200


def test_the_api_s_document_tells_of_keys(gateway: RunningGateway) -> None:
    """Every path of the control plane may answer 401 and 403, and says so."""
    url = f"{gateway.control_url}/api/v1/openapi.json"
    paths = httpx2.get(url, timeout=10).json()["paths"]
    about = [one for found in paths.values() for one in found.values()]
    assert len(about) > 15
    assert all({"401", "403"} <= one["responses"].keys() for one in about)


def test_foreign_pages_cannot_use_the_control_plane(gateway: RunningGateway) -> None:
    """Without a key, a page of another site changes nothing and a rebound name reads nothing."""
    reload = f"{gateway.control_url}/api/v1/reload"
    assert until(lambda: _status(f"{gateway.control_url}/healthz") == 200)
    foreign = {"origin": "https://evil.example"}
    assert httpx2.post(reload, headers=foreign, timeout=10).status_code == 403
    rebound = {"host": "rebound.example"}
    for path in ("/metrics", "/api/v1/status"):
        found = httpx2.get(gateway.control_url + path, headers=rebound, timeout=10)
        assert found.status_code == 403
    assert httpx2.post(reload, timeout=10).json() == {"problems": []}


def test_second_gateway_on_the_same_data_is_refused(gateway: RunningGateway) -> None:
    """Two writers would ruin the log, so the second one is told who holds it and what to do."""
    code, said = serve(
        gateway.data_dir.parent,
        *("--data-dir", str(gateway.data_dir), "--port", "0"),
        *("--config", str(gateway.config_path)),
    )
    assert code in {2, 4}
    assert str(gateway.data_dir) in said
    assert f"process {gateway.process.pid}" in said
    assert "gateway.data_dir" in said
    assert ask(gateway).status_code == 200


def test_sighup_takes_a_good_file_and_refuses_a_bad_one(
    gateway: RunningGateway, upstream: FakeUpstream
) -> None:
    """SIGHUP reloads; a bad file is refused whole, its key path is named, the old one stays."""
    gateway.config_path.write_text(CONFIG.format(url=upstream.url, route="renamed"))
    gateway.process.send_signal(signal.SIGHUP)
    assert until(lambda: models(gateway) == {"renamed"})
    bad = CONFIG.format(url=upstream.url, route="worse").replace("split", "splitt")
    gateway.config_path.write_text(bad)
    gateway.process.send_signal(signal.SIGHUP)
    assert until(lambda: "routes.worse.splitt" in gateway.log)
    assert "did you mean `split`?" in gateway.log
    assert models(gateway) == {"renamed"}
    assert ask(gateway, "renamed").status_code == 200
    gateway.config_path.write_text(CONFIG.format(url=upstream.url, route="chat"))
    gateway.process.send_signal(signal.SIGHUP)
    assert until(lambda: models(gateway) == {"chat"})


def test_changed_file_is_taken_by_itself(gateway: RunningGateway, upstream: FakeUpstream) -> None:
    """A file that is replaced, as editors and config maps do, is in force within seconds."""
    for route in ("replaced", "chat"):
        new = gateway.config_path.with_suffix(".new")
        new.write_text(CONFIG.format(url=upstream.url, route=route))
        new.replace(gateway.config_path)
        assert until(lambda route=route: models(gateway) == {route}, 10.0)  # type: ignore[misc]


def test_reload_under_load_fails_nobody(gateway: RunningGateway, upstream: FakeUpstream) -> None:
    """Requests that run while the configuration changes are all answered."""
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            statuses.append(ask(gateway).status_code)

    thread = threading.Thread(target=load)
    thread.start()
    for number in range(5):
        text = CONFIG.format(url=upstream.url, route="chat") + f"# {number}\n"
        gateway.config_path.write_text(text)
        gateway.process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    stop.set()
    thread.join(30)
    assert len(statuses) > 5
    assert set(statuses) == {200}


def test_sigterm_lets_a_stream_end(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A stream under way at SIGTERM ends as it should; the program then ends with code 0."""
    config = CONFIG.format(url=upstream.url, route="chat")
    with RunningGateway(tmp_path / "data", config) as gateway:
        upstream.script("slow_tokens:0.2")
        url = f"{gateway.data_url}/v1/chat/completions"
        body = {"model": "chat", "messages": HELLO, "stream": True}
        with httpx2.stream("POST", url, json=body, timeout=20) as answer:
            lines = answer.iter_lines()
            next(lines)
            gateway.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert any('"stop"' in line for line in rest)
        assert gateway.process.wait(30) == 0
        assert "Traceback" not in gateway.log
    segments = list((tmp_path / "data" / "spool").iterdir())
    assert segments or (tmp_path / "data" / "driftgate.duckdb").exists()


def test_killed_children_come_back(gateway: RunningGateway) -> None:
    """A worker and a control plane that are killed are there again, and serve."""
    for name in ("_worker", "_control"):
        child = gateway.child(name)
        child.kill()
        child.wait(10)
        assert gateway.child(name).pid != child.pid
    gateway.await_ready()
    assert ask(gateway).status_code == 200
    assert until(lambda: _status(f"{gateway.control_url}/healthz") == 200)


def _status(url: str) -> int:
    try:
        return httpx2.get(url, timeout=5).status_code
    except httpx2.TransportError:
        return 0


def test_port_in_use_is_said(tmp_path: Path, upstream: FakeUpstream) -> None:
    """An address that somebody else has is named, with exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = CONFIG.format(url=upstream.url, route="chat")
        code, said = serve(tmp_path, "--port", str(port), config=config)
    assert code == 2
    assert f"127.0.0.1:{port}" in said
    assert "choose another" in said


@pytest.mark.parametrize(
    ("arguments", "key"),
    [(("--host", "0.0.0.0"), "gateway.keys"), (("--control", "0.0.0.0:0"), "gateway.admin_key")],
    ids=["data", "control"],
)
def test_open_address_without_keys_is_refused(
    tmp_path: Path, upstream: FakeUpstream, arguments: tuple[str, ...], key: str
) -> None:
    """Nobody is reachable from elsewhere without keys by mistake."""
    config = CONFIG.format(url=upstream.url, route="chat")
    code, said = serve(tmp_path, "--port", "0", *arguments, config=config)
    assert code == 2
    assert key in said
    assert "--insecure" in said
    assert not (tmp_path / "driftgate-data").exists()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("upstreams: {a: {url: 'ftp://x'}}\nroutes: {m: {split: {a: 1}}}", "upstreams.a.url"),
        ("upstreams: {a: {url: 'http://x'}}\nroutes: {m: {split: {b: 1}}}", "routes.m.split"),
        ("upstreams: {a: {url: '${NO_SUCH_VARIABLE}'}}\nroutes: {}", "NO_SUCH_VARIABLE"),
        ("upstreams: [", "is not YAML"),
        ("", "upstreams"),
    ],
    ids=["url", "name", "variable", "yaml", "empty"],
)
def test_bad_configuration_is_refused_at_the_start(tmp_path: Path, config: str, named: str) -> None:
    """A configuration that cannot be right ends the program with code 2 and names the key."""
    code, said = serve(tmp_path, config=config)
    assert code == 2
    assert named in said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--control", "8081"), "`8081` is not an address"),
        (("--host", "a b"), "`a b:8080` is not an address"),
        (("--data-dir", "/dev/null/data"), "`/dev/null/data`, which cannot be written"),
    ],
    ids=["control", "host", "data-dir"],
)
def test_useless_arguments_are_refused(
    tmp_path: Path, upstream: FakeUpstream, arguments: tuple[str, ...], named: str
) -> None:
    """What the command line names and nobody can use ends the program with code 2."""
    config = CONFIG.format(url=upstream.url, route="chat")
    code, said = serve(tmp_path, *arguments, config=config)
    assert code == 2
    assert named in said


@pytest.mark.slow
def test_zero_configuration_answers_any_model(engine_gateway: RunningGateway) -> None:
    """Without a configuration the embedded engine answers every name, to the official client."""
    client = OpenAI(
        base_url=f"{engine_gateway.data_url}/v1", api_key="any", max_retries=0, timeout=60
    )
    messages: Any = HELLO
    with client:
        plain = client.chat.completions.create(
            model="gpt-9-nonexistent", messages=messages, max_tokens=8
        )
        assert plain.choices[0].message.content
        assert plain.usage is not None
        stream = client.chat.completions.create(
            model="whatever", messages=messages, max_tokens=8, stream=True
        )
        pieces = list(stream)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert pieces[-1].choices[0].finish_reason in {"stop", "length"}


@pytest.mark.slow
def test_gateway_without_its_engine_is_not_ready(engine_gateway: RunningGateway) -> None:
    """Where the engine alone can answer, `/readyz` says so only while it can."""
    assert is_ready(engine_gateway)
    engine_gateway.child("_engine").kill()
    assert until(lambda: not is_ready(engine_gateway), 10.0)
    assert ask(engine_gateway).status_code in {502, 503}
    assert until(lambda: is_ready(engine_gateway), 40.0)
    assert until(lambda: ask(engine_gateway, max_tokens=4).status_code == 200, 40.0)


@pytest.mark.slow
def test_environment_names_an_upstream_with_the_engine_behind_it(tmp_path: Path) -> None:
    """OPENAI_BASE_URL is where requests go; when it dies the engine answers, and says so."""
    with FakeUpstream() as upstream:
        environ = {"OPENAI_BASE_URL": upstream.url, "OPENAI_API_KEY": "sk-env"}
        with RunningGateway(tmp_path / "data", None, environ=environ) as gateway:
            assert ask(gateway).headers["x-driftgate-upstream"] == "openai"
            assert upstream.requests[0].header("authorization") == "Bearer sk-env"
            assert "sk-env" not in gateway.log
            assert until(gateway.data_dir.joinpath("run/engine.sock").exists)
            upstream.refuse()
            answers: list[httpx2.Response] = []

            def falls_back() -> bool:
                answers.append(ask(gateway, max_tokens=4))
                return answers[-1].status_code == 200

            assert until(falls_back, 40.0)
            assert answers[-1].headers["x-driftgate-upstream"] == "local"


@pytest.mark.slow
def test_missing_model_leaves_the_other_routes(upstream: FakeUpstream, tmp_path: Path) -> None:
    """With no file of the engine's model the gateway serves upstreams, and says what is missing."""
    missing = tmp_path / "no-such-model.gguf"
    config = (
        CONFIG.format(url=upstream.url, route="chat").replace(
            "routes:", f'  local: {{engine: llama.cpp, model: "{missing}"}}\nroutes:'
        )
        + "  fallback: {split: {fast: 1.0}, fallback: [local]}\n"
    )
    with RunningGateway(tmp_path / "data", config) as gateway:
        assert ask(gateway).status_code == 200
        assert ask(gateway, "fallback").headers["x-driftgate-upstream"] == "fast"
        assert until(lambda: "engine ended for good" in gateway.log)
        assert missing.name in gateway.log
        assert ask(gateway).status_code == 200
