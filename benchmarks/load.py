"""Plain requests: as many as go (wrk), at a fixed rate (open loop), one at a time."""

import re
import select
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contender import Contender
from wire import Answer, connect, exchange

BLOCK = 50  # requests to one before the next one's turn
BLOCK_S = 0.25  # at most


class Saturated(NamedTuple):
    """One wrk run.

    Attributes
    ----------
    requests : int
        Answered, refusals included.
    refused : int
        Answered with something else than 2xx.
    rate : float
        Answers a second, refusals included.
    p50_s, p99_s : float
        Latency of all.
    """

    requests: int
    refused: int
    rate: float
    p50_s: float
    p99_s: float


class Paced(NamedTuple):
    """One open-loop run.

    Attributes
    ----------
    requests : int
    latency_s : list of float
        From the moment a request was due, also when no connection was free for it.
    """

    requests: int
    latency_s: list[float]


def saturate(contender: Contender, connections: int, seconds: float) -> Saturated:
    """Load a contender with wrk, each connection sending as soon as it is answered.

    Raises
    ------
    RuntimeError
        Some request failed.
    """
    found = hammer(contender, connections, seconds)
    if found.refused:
        raise RuntimeError(f"{contender.name}: {found.refused} of {found.requests} were refused")
    return found


def hammer(
    contender: Contender, connections: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Saturated:
    """Load a contender with wrk, also beyond what it can take.

    Raises
    ------
    RuntimeError
        Some connection failed.
    """
    request = contender.request
    fields = {**request.all_headers(), **(headers or {})}
    lines = [f"wrk.headers[{name!r}] = {value!r}" for name, value in fields.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(['wrk.method = "POST"', f"wrk.body = {request.body()!r}", *lines]))
        script.flush()
        url = f"http://127.0.0.1:{contender.port}{request.path}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
        command += ["--timeout", "30s", "-s", script.name, url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Socket errors" in text:
        raise RuntimeError(f"{contender.name}: {text}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Saturated(
        int(_said(r"(\d+) requests in", text)[1]),
        int(refused[1]) if refused else 0,
        float(_said(r"Requests/sec:\s+([\d.]+)", text)[1]),
        *(_latency_s(share, text) for share in (50, 99)),
    )


def _latency_s(percentile: int, text: str) -> float:
    found = _said(rf"{percentile}%\s+([\d.]+)(us|ms|s|m)\s", text)
    return float(found[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[found[2]]


def _said(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk does not say {pattern!r}: {text}")
    return found


class OpenLoop:
    """Sends one request every 1 / `rate` seconds, whether or not those before were answered."""

    def __init__(self, contender: Contender, connections: int) -> None:
        self._name = contender.name
        self._request = contender.request.wire()
        self._idle = deque(connect(contender.port) for _ in range(connections))
        self._busy: dict[socket.socket, tuple[float, Answer]] = {}
        self._latency_s: list[float] = []

    def run(self, rate: float, seconds: float) -> Paced:
        """Send for so long, then wait for the last answers."""
        start_s = time.perf_counter()
        total = int(rate * seconds)
        sent = 0
        while sent < total or self._busy:
            now_s = time.perf_counter()
            due_s = start_s + sent / rate
            while sent < total and due_s <= now_s and self._idle:
                connection = self._idle.popleft()
                connection.sendall(self._request)
                self._busy[connection] = due_s, Answer()
                sent += 1
                due_s = start_s + sent / rate
            wait_s = max(0.0, due_s - now_s) if sent < total and self._idle else 30.0
            self._collect(wait_s)
        return Paced(total, self._latency_s)

    def close(self) -> None:
        """Close the connections."""
        for connection in [*self._idle, *self._busy]:
            connection.close()

    def _collect(self, wait_s: float) -> None:
        # select(2) waits to the microsecond, epoll_wait(2) to the millisecond.
        for connection in select.select(list(self._busy), [], [], wait_s)[0]:
            due_s, answer = self._busy[connection]
            if not answer.feed(connection.recv(65_536)):
                continue
            if not answer.ok:
                raise RuntimeError(f"{self._name}: a paced request failed")
            self._latency_s.append(time.perf_counter() - due_s)
            del self._busy[connection]
            self._idle.append(connection)


def paced(contender: Contender, rate: float, connections: int, seconds: float) -> Paced:
    """Load a contender at a fixed rate."""
    loop = OpenLoop(contender, connections)
    try:
        return loop.run(rate, seconds)
    finally:
        loop.close()


def latencies(
    contenders: Sequence[Contender], requests: int, seconds: float
) -> dict[str, list[float]]:
    """Send one request at a time, some to each in turn; return seconds a request, by name.

    Parameters
    ----------
    contenders : sequence of Contender
    requests : int
        To each, but to one that is slow: it gets no more turns than it takes the rest.
    seconds : float
        In all, at most.
    """
    found: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    open_to = {contender.name: connect(contender.port) for contender in contenders}
    start_s = time.perf_counter()
    for _ in range(max(1, requests // BLOCK)):
        for contender in contenders:
            block_s = time.perf_counter()
            wire, connection = contender.request.wire(), open_to[contender.name]
            for _ in range(BLOCK):
                before_s = time.perf_counter()
                if not exchange(connection, wire).ok:
                    raise RuntimeError(f"{contender.name}: a request failed")
                after_s = time.perf_counter()
                found[contender.name].append(after_s - before_s)
                if after_s - block_s > BLOCK_S:
                    break
        if time.perf_counter() - start_s > seconds:
            break
    for connection in open_to.values():
        connection.close()
    return found
