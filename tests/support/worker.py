"""One data plane worker in a thread of the test: the real process's code without the process."""

import asyncio
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from openai import OpenAI

from gateway.worker import Worker, WorkerOptions
from storage.frames import FrameKind, decode_begin, decode_end
from storage.records import Begin, End
from storage.segments import list_segments, read_frames


async def work(options: WorkerOptions) -> None:
    """Run a worker that lives through many tests."""
    # What checks each test for threads left behind must not see the loop's helper begin.
    await asyncio.to_thread(threading.get_ident)
    await Worker(options).run()


class RunningWorker:
    """Context manager around `gateway.worker.Worker`; `stop` drains it and seals its spool."""

    def __init__(self, data_dir: Path, config: str, *, engine_ready: bool = False) -> None:
        self.data_dir = data_dir
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ours, self._theirs = socket.socketpair()
        self._engine_ready = engine_ready
        self._config = config
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker")

    def __enter__(self) -> Self:
        self.configure(self._config)
        self._thread.start()
        self._reader = self._ours.makefile("rb")
        line = self._reader.readline()
        if not line:
            self._thread.join(5)
        assert line, f"the worker did not start: {self._failure!r}"
        return self

    def _run(self) -> None:
        options = WorkerOptions("w0", self.data_dir, self._listening, self._theirs)
        try:
            asyncio.run(work(options))
        except BaseException as error:  # noqa: BLE001  (reported by `stop`)
            self._failure = error

    def configure(self, config: str) -> None:
        """Send a configuration, as the supervisor does on reload."""
        values = {"text": config, "source": "test.yaml", "engine_ready": self._engine_ready}
        self.send("settings", **values)

    def send(self, kind: str, **values: object) -> None:
        """Send a message of the supervisor's."""
        self._ours.sendall(msgspec.json.encode({"kind": kind, **values}) + b"\n")

    def client(self, **options: object) -> OpenAI:
        """Return the official client, without its own retries."""
        return OpenAI(base_url=f"{self.url}/v1", api_key="sk-test", max_retries=0, **options)  # type: ignore[arg-type]

    def stop(self, grace_s: float = 5.0) -> None:
        """Drain, as on SIGTERM."""
        if self._thread.is_alive():
            with suppress(BrokenPipeError):  # It drained before, and is about to end.
                self.send("drain", grace_s=grace_s)
            self._thread.join(grace_s + 10)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._reader.close()
            self._ours.close()

    def records(self) -> list[End]:
        """Return every END in the spool so far, in order."""
        return [item for item in self.frames() if isinstance(item, End)]

    def frames(self) -> list[Begin | End]:
        """Return every BEGIN and END in the spool so far, in order."""
        found: list[Begin | End] = []
        for segment in list_segments(self.data_dir / "spool"):
            for frame in read_frames(segment.path, 0).frames:
                if frame.kind == FrameKind.BEGIN:
                    found.append(decode_begin(frame.payload, segment.schema_version))
                elif frame.kind == FrameKind.END:
                    found.append(decode_end(frame.payload, segment.schema_version))
        return found
