"""The wheel that users install: built, looked at, installed without extras, and run."""

import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx2
import pytest
from support.fake_upstream import FakeUpstream

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent
CONFIG = """\
upstreams:
  primary: {{url: "{url}"}}
  local: {{engine: llama.cpp, model: smollm2-135m-instruct}}
routes: {{"*": {{split: {{primary: 1.0}}, fallback: [local]}}}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def clean_environ(home: Path) -> dict[str, str]:
    """Return an environment without what leads to this checkout or to a configuration."""
    hidden = ("PYTHONPATH", "OPENAI_", "DRIFTGATE_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return kept | {"HOME": str(home)}


def run(
    *command: str | Path, cwd: Path = ROOT, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environ(home or Path.home()),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from it the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ".")
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def monitor(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone, with its pinned core dependencies, and return its command."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    made = run(PROGRAMS / "uv", "venv", "--quiet", "--python", sys.executable, venv)
    assert made.returncode == 0, made.stderr
    install: list[str | Path] = [PROGRAMS / "uv", "pip", "install", "--python", venv]
    install += ["-c", ROOT / "constraints.txt", wheel]
    # `make setup` has left every pinned package in uv's cache.
    installed = run(*install, "--offline")
    if installed.returncode != 0:
        installed = run(*install)
    assert installed.returncode == 0, installed.stderr
    return venv / "bin" / "monitor"


def test_the_contents_of_the_wheel_are_sound(wheel: Path) -> None:
    """No stray folder, no duplicate, no test, nothing missing by the checker's rules."""
    checked = run(PROGRAMS / "check-wheel-contents", wheel)
    assert checked.returncode == 0, checked.stdout


def test_the_wheel_brings_one_name(wheel: Path) -> None:
    """Everything lies below `driftgate`, and no `.pth` changes what others import."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert [top for top in tops if not re.fullmatch(r"driftgate(-[\d.]+\.dist-info)?", top)] == []
    assert [name for name in names if name.endswith(".pth")] == []


@pytest.mark.parametrize(
    "room",
    ["gateway", "router", "storage", "stats", "monitors", "dashboards", "local_engine"],
)
def test_the_wheel_holds_every_file(wheel: Path, room: str) -> None:
    """What a folder of the checkout holds is in the wheel, which came from the sdist."""
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (ROOT / room).rglob("*") if path.is_file()]
    ours = {f"driftgate/{path.relative_to(ROOT)}" for path in files if path.suffix != ".pyc"}
    assert ours
    assert ours <= names


def test_help_needs_no_extra(monitor: Path, tmp_path: Path) -> None:
    """`monitor --help` lists the commands of an installation without extras."""
    result = run(monitor, "--help", cwd=tmp_path, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "\n  serve " in result.stdout


def test_check_needs_no_file(monitor: Path, tmp_path: Path) -> None:
    """`monitor check` in an empty folder finds the configuration of an empty environment."""
    result = run(monitor, "check", cwd=tmp_path, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the environment is good" in result.stderr


def test_report_says_when_there_is_no_log(monitor: Path, tmp_path: Path) -> None:
    """`monitor report` on a data directory that is not there exits 4, with a reason."""
    result = run(monitor, "report", "--data-dir", tmp_path / "none", cwd=tmp_path, home=tmp_path)
    assert (result.returncode, result.stdout) == (4, "")
    assert str(tmp_path / "none") in result.stderr


def test_serve_answers_without_the_engine(monitor: Path, tmp_path: Path) -> None:
    """Without the `local` extra the server says that the engine is missing, and serves."""
    with FakeUpstream() as upstream:
        (tmp_path / "driftgate.yaml").write_text(CONFIG.format(url=upstream.url))
        log_path = tmp_path / "log"
        with log_path.open("w") as log:
            server = subprocess.Popen(
                [str(monitor), "serve", "--port", "0", "--control", "127.0.0.1:0"],
                cwd=tmp_path,
                env=clean_environ(tmp_path),
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            url = told(log_path, r"driftgate serves (http://\S+)/v1", server)
            told(log_path, r"the embedded engine cannot start: .*install", server)
            answer = ask(url)
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-driftgate-upstream"] == "primary"
        finally:
            server.terminate()
            assert server.wait(60) == 0, log_path.read_text()


def told(log_path: Path, pattern: str, server: subprocess.Popen[bytes]) -> str:
    """Wait until the server says something; return the last group of what it said."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and server.poll() is None:
        found = re.search(pattern, log_path.read_text())
        if found is not None:
            return found[found.re.groups]
        time.sleep(0.05)
    raise AssertionError(f"never said `{pattern}`:\n{log_path.read_text()}")


def ask(url: str) -> httpx2.Response:
    """Send a chat request once the server is ready."""
    deadline_s = time.monotonic() + 30
    while httpx2.get(f"{url}/readyz", timeout=5).status_code != 200:
        assert time.monotonic() < deadline_s, "never ready"
        time.sleep(0.05)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    return httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=30)
