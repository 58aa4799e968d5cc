import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local_engine.errors import ModelInvalid, ModelNotFound
from local_engine.models import ModelFile, ModelPlaces, model_places, resolve_model

GGUF = b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8) + b"x" * 3_000_000
NAME = "hf:org/repo/sub/tiny.gguf"


class _Hub(BaseHTTPRequestHandler):
    paths: list[str]

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]  # Set by the fixture.
        if "/tiny.gguf" not in self.path:
            self.send_error(401 if "gated" in self.path else 404)
            return
        cut = "short" in self.path
        self.send_response(200)
        self.send_header("Content-Length", str(len(GGUF)))
        self.end_headers()
        self.wfile.write(GGUF[: len(GGUF) // 2] if cut else GGUF)

    def log_message(self, *_args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hub)
        self.paths: list[str] = []


@pytest.fixture
def hub() -> Iterator[_Server]:
    """Serve a hub on a free port that has `tiny.gguf` in every repository."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _places(tmp_path: Path, hub: _Server) -> ModelPlaces:
    environment = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}/",
        "HF_HOME": str(tmp_path / "hf"),
    }
    return model_places(str(tmp_path / "models"), environment)


def _nowhere(tmp_path: Path) -> ModelPlaces:
    return ModelPlaces(tmp_path / "models", tmp_path / "hub", "http://127.0.0.1:9")


def _write(path: Path, content: bytes = GGUF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_default_name_is_the_bundled_file(model_file: ModelFile) -> None:
    """It is found in the installed distribution and keeps its short name."""
    assert model_file.name == "smollm2-135m-instruct"
    assert model_file.digest == hashlib.sha256(model_file.path.read_bytes()).hexdigest()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """Its name without the ending names the model."""
    path = _write(tmp_path / "my-model.gguf")
    file = resolve_model(str(path), _nowhere(tmp_path))
    assert (file.name, file.path) == ("my-model", path)


def test_an_unknown_name_says_what_would_work(tmp_path: Path) -> None:
    """The message lists the ways to name a model."""
    with pytest.raises(ModelNotFound, match=r"`gpt-9`.*`smollm2-135m-instruct`.*hf:ORG"):
        resolve_model("gpt-9", _nowhere(tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no GGUF"),
        (b"<html>not found</html>......", "no GGUF"),
        (GGUF[:20], "cut off after 20 bytes"),
        (b"GGUF" + b"\x09" + GGUF[5:40], "version 9"),
        (GGUF[:8] + b"\xff" * 8 + GGUF[16:40], "claims 18446744073709551615 tensors"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """Before a byte of it reaches C."""
    path = _write(tmp_path / "bad.gguf", content)
    with pytest.raises(ModelInvalid, match=words):
        resolve_model(str(path), _nowhere(tmp_path))


def test_a_pinned_file_must_be_that_file(tmp_path: Path) -> None:
    """`#sha256=` accepts the right content only."""
    path = _write(tmp_path / "m.gguf")
    digest = hashlib.sha256(GGUF).hexdigest()
    assert resolve_model(f"{path}#sha256={digest}", _nowhere(tmp_path)).digest == digest
    with pytest.raises(ModelInvalid, match="another file or was damaged"):
        resolve_model(f"{path}#sha256={'0' * 64}", _nowhere(tmp_path))


def test_a_malformed_pin_is_not_ignored(tmp_path: Path) -> None:
    """A digest that is too short pins nothing, so it is an error."""
    path = _write(tmp_path / "m.gguf")
    with pytest.raises(ModelNotFound, match="64 hex digits"):
        resolve_model(f"{path}#sha256=abc", _nowhere(tmp_path))


def test_a_file_in_the_hub_cache_is_used(tmp_path: Path) -> None:
    """What the Hugging Face tools have fetched is not fetched again."""
    places = _nowhere(tmp_path)
    folder = places.hub_cache / "models--org--repo"
    _write(folder / "refs" / "main", b"rev1\n")
    _write(folder / "snapshots" / "rev0" / "sub" / "tiny.gguf")
    path = _write(folder / "snapshots" / "rev1" / "sub" / "tiny.gguf")
    assert resolve_model(NAME, places).path == path


@pytest.mark.parametrize("name", [NAME, "org/repo:sub/tiny.gguf"])
def test_a_hub_name_is_downloaded_once(tmp_path: Path, hub: _Server, name: str) -> None:
    """Both spellings lead to the same address; the second start finds the file."""
    places = _places(tmp_path, hub)
    seen: list[tuple[int, int | None]] = []
    file = resolve_model(name, places, progress=lambda *at: seen.append(at))
    assert resolve_model(name, places) == file
    assert file.path == tmp_path / "models" / "org" / "repo" / "sub" / "tiny.gguf"
    assert file.path.read_bytes() == GGUF
    assert hub.paths == ["/org/repo/resolve/main/sub/tiny.gguf"]
    assert seen[-1] == (len(GGUF), len(GGUF))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("hf:org/short/tiny.gguf", ModelInvalid, "broke off after 1500012 of 3000024"),
        (f"{NAME}#sha256={'1' * 64}", ModelInvalid, "another file"),
        ("hf:org/repo/missing.gguf", ModelNotFound, "404"),
        ("hf:org/repo/gated.gguf", ModelNotFound, "without an account"),
        ("hf:org/repo/../../tiny.gguf", ModelNotFound, r"no `\.\.`"),
    ],
)
def test_a_failed_download_leaves_nothing(
    tmp_path: Path, hub: _Server, name: str, kind: type[Exception], words: str
) -> None:
    """Short, wrong, missing and forbidden files are told apart, and no part stays."""
    with pytest.raises(kind, match=words):
        resolve_model(name, _places(tmp_path, hub))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unreachable_hub_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    """Nothing listens there."""
    with pytest.raises(ModelNotFound, match="could not be downloaded"):
        resolve_model(NAME, _nowhere(tmp_path))
