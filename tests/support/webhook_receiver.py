"""A receiver of webhooks on port 0: keeps what came, answers by a script."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Reply(NamedTuple):
    """How a request is answered; `close` answers nothing at all, `torn` a part of its head."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    close: bool = False
    delay_s: float = 0.0
    torn: bool = False


class Received(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and the answers to come; after the script every request is answered 200."""

    port: int = 0
    script: list[Reply] = field(default_factory=list)
    always: Reply = field(default_factory=Reply)
    received: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Address of the hook."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """`webhook-id` of every request, repeats included."""
        return [request.headers["webhook-id"] for request in self.received]

    def take(self, request: Received) -> Reply:
        """Keep a request; return how to answer it."""
        with self.lock:
            self.received.append(request)
            return self.script.pop(0) if self.script else self.always


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver; on port 0 it finds a free one."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = receiver.take(Received(self.path, headers, self.rfile.read(size)))
            time.sleep(reply.delay_s)
            if reply.close or reply.torn:
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 20" if reply.torn else b"")
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = False
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
