"""A worker before an upstream, for many examples; a client that reads answers as bytes."""

import http.client
import io
import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from support.fake_answers import Pause, Step
from support.fake_upstream import FakeUpstream
from support.spool_rows import SpoolRows
from support.wild_answers import DROPPED, KEPT, Wire
from support.wild_reading import Said
from support.worker import RunningWorker

from storage.records import End

CONFIG = """
upstreams:
  a: {{url: "{a}"}}
  renamed: {{url: "{a}", model: "a-model/named:otherwise"}}
  claude: {{url: "{a}", protocol: anthropic}}
routes:
  "*": {{split: {{a: 1.0}}, retry: {{attempts: 1}}}}
  other: {{split: {{renamed: 1.0}}, retry: {{attempts: 1}}}}
  claude: {{split: {{claude: 1.0}}, retry: {{attempts: 1}}}}
engine: {{enabled: false}}
"""
CHAT = "/v1/chat/completions"
RENAMED = "a-model/named:otherwise"


class Got(NamedTuple):
    """An answer as a client has it; field names are lower-case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def kept(self) -> list[tuple[str, str]]:
        """Return the end-to-end fields that tests draw."""
        return [(name, value) for name, value in self.fields if name in KEPT]

    def value(self, name: str) -> str:
        """Return the value of a field."""
        return dict(self.fields)[name]


class _Shared(io.BufferedReader):
    """Answers in a row, read from one connection: none of them may close it, or read ahead."""

    def makefile(self, mode: str) -> io.BufferedReader:
        """Stand in for the socket that `http.client` wants."""
        return self

    def close(self) -> None:
        """Stay open."""


class Rig(NamedTuple):
    """The worker's port, its upstream and its spool."""

    upstream: FakeUpstream
    port: int
    spool: SpoolRows

    def ask(self, head: str, body: bytes = b"") -> Got:
        """Send one request, its length added; read the answer to its end."""
        return self.send([request(head, body)], [head])[0]

    def send(self, steps: Sequence[Step], heads: Sequence[str]) -> list[Got]:
        """Send bytes on one connection, then read the answers to requests with such heads."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for step in steps:
                if isinstance(step, bytes):
                    raw.sendall(step)
                elif isinstance(step, Pause):
                    time.sleep(step.seconds)
            shared = _Shared(cast("io.RawIOBase", socket.SocketIO(raw, "rb")))
            try:
                return [_read(shared, head.partition(" ")[0]) for head in heads]
            finally:
                io.BufferedReader.close(shared)

    def post(self, path: str, **body: Any) -> Got:
        """Ask with a JSON object."""
        head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json"
        return self.ask(head, json.dumps(body).encode())

    def row(self, got: Got) -> End:
        """Return the record of an answer."""
        identity = got.value("x-driftgate-id")
        (row,) = [row for row in self.spool.read() if row.prediction.id == identity]
        return row

    def said(self, got: Got) -> Said:
        """Return what the record keeps of what an answer said of itself."""
        facts = self.row(got).prediction
        return Said(*(getattr(facts, name) for name in Said._fields))


def request(head: str, body: bytes) -> bytes:
    """Return a request with its length."""
    return f"{head}\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _read(shared: _Shared, method: str) -> Got:
    answer = http.client.HTTPResponse(cast("socket.socket", shared), method=method)
    answer.begin()
    fields = [(name.lower(), value) for name, value in answer.getheaders()]
    return Got(answer.status, fields, answer.read())


@contextmanager
def running_rig(folder: Path) -> Iterator[Rig]:
    """Run a worker and its upstream."""
    with (
        FakeUpstream() as upstream,
        RunningWorker(folder, CONFIG.format(a=upstream.url)) as worker,
    ):
        yield Rig(upstream, worker.port, SpoolRows(folder / "spool"))


def check_fields(got: Got, wire: Wire, upstream: str = "a") -> None:
    """Check that what is end to end came, in order, and that the rest did not."""
    assert got.kept() == wire.kept()
    assert {name for name, _ in got.fields} & set(DROPPED) == {"x-driftgate-upstream"}
    assert [value for name, value in got.fields if name == "x-driftgate-upstream"] == [upstream]
