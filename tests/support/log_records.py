"""Records and segments for tests of the prediction log: real frames, written as a worker would."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from storage.frames import FrameEncoder, FrameKind, SegmentHeader, encode_header
from storage.records import (
    SCHEMA_VERSION,
    Attempt,
    Begin,
    End,
    Payload,
    Prediction,
    Signals,
)
from storage.segments import SegmentInfo, list_segments

NOW = 1_795_000_000_000_000
SECOND = 1_000_000


def now_us() -> int:
    """Return a fixed time."""
    return NOW


def id_of(number: int) -> str:
    """Return the id of a numbered record."""
    return str(UUID(int=(0x0190_0000_0000_7000_8000 << 48) + number))


def begin_of(number: int, *, route: str = "chat") -> Begin:
    """Return the begin of a numbered record."""
    return Begin(
        id_of(number), NOW + number, route, "primary", "primary", "m", "openai", "chat", "default"
    )


def end_of(number: int, *, text: bool = True, **facts: object) -> End:
    """Return the whole numbered record; `facts` replace fields of its prediction."""
    prediction = Prediction(
        id=id_of(number),
        started_at=NOW + number,
        route="chat",
        variant="primary",
        upstream="primary",
        model_asked="m",
        protocol="openai",
        operation="chat",
        tenant="default",
        status=200,
        latency_s=0.5,
        upstream_s=0.49,
        overhead_s=0.01,
        attempts=1,
        model_answered="m-2",
        finish_reason="stop",
        prompt_tokens=10,
        response_tokens=20,
        cost_usd=0.001,
        ttft_s=0.1,
        tags=("a", "b"),
    )
    prediction = msgspec.structs.replace(prediction, **facts)
    return End(
        prediction,
        (Attempt(1, "primary", prediction.started_at, 0.49, 200, None, 0.1),),
        Payload(f"question {number}".encode(), f"answer {number}".encode()) if text else None,
    )


def signals_of(ends: Sequence[End]) -> list[Signals]:
    """Compute signals that tests can foresee."""
    return [
        Signals(
            end.prediction.id,
            prompt_chars=len(end.payload.request) if end.payload else None,
            language="en",
            error=end.prediction.reason is not None,
        )
        for end in ends
    ]


class SegmentWriter:
    """Writes one source's segments, holding the lock of the open one as a worker does."""

    def __init__(self, directory: Path, *, source: str = "w0-1-1", number: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._source = source
        self._open(number, SCHEMA_VERSION)

    def write(self, kind: FrameKind, record: msgspec.Struct | bytes) -> None:
        """Append one frame."""
        batch = bytearray()
        self._encoder.append(batch, kind, record)
        self.raw(bytes(batch))

    def ends(self, numbers: Sequence[int]) -> None:
        """Append begin and end of numbered records in one write."""
        batch = bytearray()
        for number in numbers:
            self._encoder.append(batch, FrameKind.BEGIN, begin_of(number))
            self._encoder.append(batch, FrameKind.END, end_of(number))
        self.raw(bytes(batch))

    def raw(self, data: bytes) -> None:
        """Append bytes."""
        os.write(self._fd, data)

    def rotate(self, *, schema_version: int = SCHEMA_VERSION) -> None:
        """Open the next segment, then seal and let go of this one."""
        old, encoder = self._fd, self._encoder
        self._open(self.number + 1, schema_version)
        seal = bytearray()
        encoder.append(seal, FrameKind.SEAL, msgspec.msgpack.encode((NOW, 0)))
        os.write(old, seal)
        os.close(old)

    def die(self) -> None:
        """Let go of the segment as SIGKILL would: nothing is sealed."""
        os.close(self._fd)

    def info(self) -> SegmentInfo:
        """Return the open segment as a reader lists it."""
        return next(s for s in list_segments(self._directory) if s.path == self.path)

    def _open(self, number: int, schema_version: int) -> None:
        self.number = number
        self.path = self._directory / f"{self._source}-{number:06d}.seg"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        first = 1_000_000_007 * (number + 1)
        self._encoder = FrameEncoder(first)
        header = SegmentHeader(schema_version, self._source, number, NOW, "w0", first)
        os.write(self._fd, encode_header(header))
