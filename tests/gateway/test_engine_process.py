import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from support.engine_kit import EngineProcess

from gateway.engine_process import EXIT_STOPPED, EXIT_UNUSABLE, engine_environment

STORY = {
    "messages": [{"role": "user", "content": "Tell a story."}],
    "max_tokens": 60,
    "stream": True,
}


def _environment_of(engine: EngineProcess) -> bytes:
    return Path(f"/proc/{engine.process.pid}/environ").read_bytes()


def test_it_answers_before_its_model_is_loaded(tmp_path: Path) -> None:
    """The first answers say that it is loading and when to come back; later ones are real."""
    with EngineProcess(tmp_path) as engine:
        engine.wait_listening()
        with engine.client() as client:
            first = client.get("/v1/models")
            assert first.status_code == 503
            assert first.json()["error"]["code"] == "engine_loading"
            assert first.headers["retry-after"] == "1"
            engine.wait_ready()
            assert client.get("/v1/models").json()["data"][0]["id"] == "smollm2-135m-instruct"


def test_sigterm_lets_a_running_stream_finish(tmp_path: Path) -> None:
    """The stream ends with its own end; then the process does, and its socket is gone."""
    with EngineProcess(tmp_path) as engine, engine.client() as client:
        engine.wait_ready()
        with client.stream("POST", "/v1/chat/completions", json=STORY) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            engine.process.send_signal(signal.SIGTERM)
            rest = "\n".join(lines)
        assert rest.rstrip().endswith("data: [DONE]")
        assert engine.stop() == EXIT_STOPPED
        assert not engine.socket.exists()


def test_a_client_that_leaves_frees_its_slot(tmp_path: Path) -> None:
    """Closing the connection cancels the sequence, and it is counted."""
    with EngineProcess(tmp_path) as engine, engine.client() as client:
        engine.wait_ready()
        with engine.client() as leaver:
            story = STORY | {"max_tokens": 200}
            with leaver.stream("POST", "/v1/chat/completions", json=story) as answer:
                assert next(answer.iter_lines()).startswith("data: ")
        started_s = time.monotonic()
        numbers = client.get("/healthz").json()["engine"]["scheduler"]
        while numbers["slots_busy"]:
            assert time.monotonic() - started_s < 5, numbers
            numbers = client.get("/healthz").json()["engine"]["scheduler"]
        assert numbers["cancelled_total"] == 1


@pytest.mark.parametrize("model", ["no-such-model", "damaged.gguf"])
def test_a_model_that_cannot_be_used_ends_the_process(tmp_path: Path, model: str) -> None:
    """With its own exit status, so that nobody starts it again, and the reason in the log."""
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + b"\0" * 10)
    name = str(tmp_path / model) if model.endswith(".gguf") else model
    with EngineProcess(tmp_path, model=name) as engine:
        assert engine.process.wait(timeout=30) == EXIT_UNUSABLE
        assert "the embedded engine cannot start" in engine.log
        assert model in engine.log


def test_llama_cpp_does_not_write_to_stderr(tmp_path: Path) -> None:
    """Its log goes to `logging` at debug level, which is off here."""
    with EngineProcess(tmp_path) as engine:
        engine.wait_ready()
        engine.stop()
        assert "loaded smollm2-135m-instruct" in engine.log
        assert "llama_" not in engine.log


def test_no_secret_reaches_the_process(tmp_path: Path) -> None:
    """Keys are not in the environment that the supervisor hands over."""
    secrets = {"OPENAI_API_KEY": "sk-canary", "HF_TOKEN": "hf-canary", "CUDA_SECRET": "x-canary"}
    environment = engine_environment({**os.environ, **secrets, "WEBHOOK": "canary"})
    with EngineProcess(tmp_path, environment=environment) as engine:
        engine.wait_listening()
        assert b"canary" not in _environment_of(engine)
        assert b"GOMP_SPINCOUNT=" in _environment_of(engine)


def test_the_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    """No other user of the machine can ask the engine."""
    with EngineProcess(tmp_path) as engine:
        engine.wait_listening()
        assert engine.socket.stat().st_mode & 0o777 == 0o600


def test_a_socket_left_by_a_killed_process_is_no_hindrance(tmp_path: Path) -> None:
    """The next process takes the path over."""
    with EngineProcess(tmp_path) as first:
        first.wait_listening()
        first.process.kill()
        first.process.wait()
        assert first.socket.exists()
    with EngineProcess(tmp_path) as second, second.client() as client:
        second.wait_listening()
        assert client.get("/healthz").status_code in {200, 503}


def test_a_passed_socket_outlives_the_process(tmp_path: Path) -> None:
    """Whoever holds it can start the next process on it; requests between the two wait."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "e.sock"))
        listener.listen()
        with EngineProcess(tmp_path, listener=listener) as first:
            first.wait_ready()
            assert first.stop() == EXIT_STOPPED
        with (
            EngineProcess(tmp_path, listener=listener) as second,
            second.client() as client,
        ):
            assert client.get("/healthz").status_code in {200, 503}


def test_the_process_is_confined(tmp_path: Path) -> None:
    """No core file, which would hold prompts, and as much memory as the configuration says."""
    with EngineProcess(tmp_path, memory_bytes=8 << 30) as engine:
        engine.wait_listening()
        limits = Path(f"/proc/{engine.process.pid}/limits").read_text()
    found = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max address space"] == [str(8 << 30)] * 2


def test_sigterm_breaks_a_download_off(tmp_path: Path) -> None:
    """A hub that sends a little now and then cannot keep the process from ending."""
    with socket.create_server(("127.0.0.1", 0)) as hub:
        thread = threading.Thread(target=_drip, args=(hub,))
        thread.start()
        given = {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}",
            "HF_HOME": str(tmp_path),
            "HOME": str(tmp_path),
        }
        environment = engine_environment({**os.environ, **given})
        with EngineProcess(tmp_path, model="hf:a/b/c.gguf", environment=environment) as engine:
            engine.wait_listening()
            deadline_s = time.monotonic() + 30
            while not list(tmp_path.rglob("*.part")):
                assert time.monotonic() < deadline_s, engine.log
                time.sleep(0.01)
            assert engine.stop() == EXIT_STOPPED
        thread.join()
    assert not list(tmp_path.rglob("*.part"))


def _drip(hub: socket.socket) -> None:
    connection, _ = hub.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
        while True:
            connection.sendall(bytes(1 << 18))
            time.sleep(0.05)
