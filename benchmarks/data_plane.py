"""CPU a request and a streamed chunk, driftgate against nginx as the floor, interleaved.

Both stand before the same static upstream (nginx answering from its configuration) and are loaded
by the same wrk; CPU is what the kernel accounts to the serving processes over the run.
"""

import argparse
import asyncio
import hashlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from processes import await_port, cpu_s, free_port, running, tree

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "chat",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Jupiter is the largest planet. " * 12},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 41, "completion_tokens": 84, "total_tokens": 125},
    }
)
_LAG = re.compile(rb"^driftgate_ingest_lag_bytes ([\d.e+]+)$", re.MULTILINE)
NGINX = """
daemon off; worker_processes 1; error_log stderr crit; pid {pid};
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 10000000; client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  upstream backend {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    {body}
  }}
}}
"""
STATIC = "location / {{ default_type application/json; return 200 '{answer}'; }}"
PROXY = (
    "location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_buffering off;"
    " proxy_set_header Connection ''; }"
)
CONFIG = """
upstreams:
  up: {{url: "http://127.0.0.1:{upstream}/v1"}}
  down: {{url: "http://127.0.0.1:9/v1"}}
routes:
  chat: {{split: {{up: 1.0}}, fallback: [down], sticky: user}}
gateway:
  keys: [{{name: bench, sha256: "{key}"}}]
engine: {{enabled: false}}
"""


class Contender(NamedTuple):
    """Something that stands between wrk and the upstream."""

    name: str
    port: int
    serving: list[int]
    root: int
    control: int | None

    def whole_s(self) -> float:
        """Return the CPU of all its processes, once everything answered is in the database."""
        if self.control is not None:
            await_ingest(self.control)
        return cpu_s(tree(self.root))


class Load(NamedTuple):
    """One wrk run."""

    requests: int
    rate: float
    errors: int


def nginx(
    stack: ExitStack, directory: Path, name: str, body: str, upstream: int
) -> tuple[int, int]:
    """Start an nginx; return its port and process id."""
    port, home = free_port(), directory / name
    home.mkdir()
    config = NGINX.format(pid=home / "pid", dir=home, upstream=upstream or 9, port=port, body=body)
    (home / "nginx.conf").write_text(config)
    process = stack.enter_context(
        running(["nginx", "-c", str(home / "nginx.conf"), "-p", str(home)], port=port)
    )
    return port, process.pid


def gateway(stack: ExitStack, directory: Path, name: str, upstream: int) -> Contender:
    """Start driftgate with keys, plan, fallback chain and full recording on."""
    key = hashlib.sha256(b"sk-benchmark").hexdigest()
    path = directory / f"{name}.yaml"
    path.write_text(CONFIG.format(upstream=upstream, key=key))
    port, control = free_port(), free_port()
    command = [
        sys.executable,
        "-m",
        "driftgate",
        "serve",
        "--config",
        str(path),
        "--port",
        str(port),
    ]
    command += ["--control", f"127.0.0.1:{control}", "--data-dir", str(directory / name)]
    process = stack.enter_context(running(command, port=port, cwd=ROOT))
    await_port(control, process)
    await_ingest(control)
    pids = tree(process.pid)
    worker = [pid for pid in pids if b"_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return Contender("driftgate", port, worker, process.pid, control)


def await_ingest(control: int, timeout_s: float = 120.0) -> None:
    """Wait until the control plane says that the spool is in the database."""
    deadline_s = time.monotonic() + timeout_s
    url = f"http://127.0.0.1:{control}/metrics"
    while time.monotonic() < deadline_s:
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = _LAG.search(answer.read())
        # A STATS frame a second keeps it from being zero for long.
        if found is not None and float(found[1]) < 10_000:
            return
        time.sleep(0.2)
    raise RuntimeError("ingest does not catch up")


def wrk(port: int, connections: int, seconds: int) -> Load:
    """Load a port; return what wrk counted."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "post.lua"), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(requests, rate, int(bad[1]) if bad else 0)


def requests_round(contender: Contender, connections: int, seconds: int) -> dict[str, float]:
    """Measure one contender once: microseconds of CPU a request."""
    before, before_all = cpu_s(contender.serving), contender.whole_s()
    load = wrk(contender.port, connections, seconds)
    serving = cpu_s(contender.serving) - before
    whole = contender.whole_s() - before_all
    if load.errors:
        raise RuntimeError(f"{contender.name}: {load.errors} of {load.requests} requests failed")
    return {
        "serving_us": serving / load.requests * 1e6,
        "whole_us": whole / load.requests * 1e6,
        "rate": load.rate,
    }


async def _stream(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"model":"chat","stream":true,"messages":[{"role":"user","content":"count"}]}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer sk-benchmark\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
        % (len(body), body)
    )
    text = await reader.read(-1)
    writer.close()
    if b"[DONE]" not in text:
        raise RuntimeError(f"a stream was cut: {text[-200:]!r}")
    return text.count(b"data: ") - 1


def stream_round(contender: Contender, streams: int) -> dict[str, float]:
    """Measure one contender once: microseconds of CPU a streamed chunk."""

    async def load() -> int:
        return sum(await asyncio.gather(*(_stream(contender.port) for _ in range(streams))))

    before, before_all = cpu_s(contender.serving), contender.whole_s()
    chunks = asyncio.run(load())
    serving = cpu_s(contender.serving) - before
    return {
        "serving_us": serving / chunks * 1e6,
        "whole_us": (contender.whole_s() - before_all) / chunks * 1e6,
        "chunks": chunks,
    }


def summary(name: str, rounds: dict[str, list[dict[str, float]]]) -> str:
    """Return a Markdown table: medians over the rounds, and the ratio to nginx round by round."""
    lines = [
        f"### {name}",
        "",
        "| | CPU µs, serving process | CPU µs, all processes | ratio to nginx (median, min-max) |",
        "|---|---|---|---|",
    ]
    floor = [r["serving_us"] for r in rounds["nginx"]]
    for contender, found in rounds.items():
        serving = [r["serving_us"] for r in found]
        ratios = [a / b for a, b in zip(serving, floor, strict=True)]
        whole = statistics.median(r["whole_us"] for r in found)
        lines.append(
            f"| {contender} | {statistics.median(serving):.1f} | {whole:.1f} |"
            f" {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
        )
        if "rate" in found[0]:
            lines[-1] += f" {statistics.median(r['rate'] for r in found):.0f} requests/s |"
    if "rate" in rounds["nginx"][0]:
        lines[2], lines[3] = lines[2] + " rate |", lines[3] + "---|"
    return "\n".join(lines)


def main() -> None:
    """Run both measurements and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--streams", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        static = STATIC.format(answer=ANSWER)
        upstream, _ = nginx(stack, directory, "static", static, 0)
        contenders = _contenders(stack, directory, "plain", upstream)
        for contender in contenders:
            wrk(contender.port, options.connections, 1)
        rounds: dict[str, list[dict[str, float]]] = {c.name: [] for c in contenders}
        for _ in range(options.rounds):
            for contender in contenders:
                rounds[contender.name].append(
                    requests_round(contender, options.connections, options.seconds)
                )
        print(summary(f"Requests, {options.connections} connections", rounds), "\n")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port = free_port()
        command = [sys.executable, str(HERE / "stream_server.py"), str(port), "100", "0.02"]
        stack.enter_context(running(command, port=port))
        contenders = _contenders(stack, Path(folder), "stream", port)
        rounds = {c.name: [] for c in contenders}
        for _ in range(options.rounds):
            for contender in contenders:
                rounds[contender.name].append(stream_round(contender, options.streams))
        print(summary(f"Streamed chunks, {options.streams} streams, one chunk each 20 ms", rounds))


def _contenders(stack: ExitStack, directory: Path, name: str, upstream: int) -> list[Contender]:
    port, pid = nginx(stack, directory, f"{name}-proxy", PROXY, upstream)
    pids = tree(pid)
    return [
        Contender("nginx", port, pids, pid, None),
        gateway(stack, directory, f"{name}-gateway", upstream),
    ]


if __name__ == "__main__":
    main()
