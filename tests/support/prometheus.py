"""A real Prometheus that scrapes what a test serves, once a second.

with scraping(f"{gateway.control_url}/metrics") as prometheus:
    prometheus.wait_for("driftgate_build_info")
    prometheus.query("up")
"""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

JOB = "driftgate"
_START_S = 30.0
_STOP_S = 15.0


class Sample(NamedTuple):
    """One element of an instant vector."""

    labels: dict[str, str]
    value: float


class PrometheusRefused(Exception):
    """Prometheus says what is wrong with a query."""


class Prometheus:
    """Asks a running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Sample]:
        """Return an instant vector; a scalar has no labels.

        Raises
        ------
        PrometheusRefused
            The expression is none.
        """
        answer = httpx2.get(
            f"{self.url}/api/v1/query",
            params={"query": expression},
            timeout=10.0,
            trust_env=False,
        ).json()
        if answer["status"] != "success":
            raise PrometheusRefused(f"{expression}: {answer['error']}")
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            return [Sample({}, float(result[1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in result]

    def wait_for(
        self,
        expression: str,
        *,
        until: Callable[[list[Sample]], bool] = bool,
        timeout_s: float = 20.0,
    ) -> list[Sample]:
        """Ask until the answer is as wanted (by default: not empty); return the last one."""
        deadline_s = time.monotonic() + timeout_s
        found = self.query(expression)
        while not until(found) and time.monotonic() < deadline_s:
            time.sleep(0.2)
            found = self.query(expression)
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return the scrape targets with their health and last error."""
        answer = httpx2.get(f"{self.url}/api/v1/targets", timeout=10.0, trust_env=False)
        targets: list[dict[str, Any]] = answer.json()["data"]["activeTargets"]
        return targets


@contextmanager
def scraping(target: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the URL `target`."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: run `make servers`"
    with TemporaryDirectory(prefix="driftgate-prometheus-") as folder:
        url = f"http://127.0.0.1:{_free_port()}"
        process = _start(program, Path(folder), target, url)
        try:
            _wait_until_ready(url, process, Path(folder))
            yield Prometheus(url)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_S)


def _start(program: str, folder: Path, target: str, url: str) -> subprocess.Popen[bytes]:
    parts = urlsplit(target)
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - job_name: {JOB}\n"
        f"    scheme: {parts.scheme}\n"
        f"    metrics_path: {parts.path}\n"
        f'    static_configs: [{{targets: ["{parts.netloc}"]}}]\n'
    )
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={urlsplit(url).netloc}",
        f"--web.external-url={url}",
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if httpx2.get(f"{url}/-/ready", timeout=2.0, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"prometheus did not start:\n{(folder / 'log').read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(render: Callable[[str], tuple[bytes, str]]) -> Iterator[str]:
    """Serve an exposition at the URL yielded; `render` gets the `Accept` header."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, content_type = render(self.headers.get("accept", ""))
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join(10.0)
        server.server_close()
