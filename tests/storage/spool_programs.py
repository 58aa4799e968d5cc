"""Programs that the spool's tests start: one to be killed, one on a disk of its own."""

import asyncio
import json
import sys
import time
from pathlib import Path

from storage.config import RecordConfig
from storage.disk import Disk
from storage.errors import SpoolUnavailable
from storage.ids import IdSource
from storage.records import Begin, End, Payload, Prediction
from storage.segments import list_segments
from storage.spool import Spool
from storage.spool_level import MarkFile, SpoolLevel
from storage.watermarks import Watermark

BODY = 1500


def begin_of(name: str) -> Begin:
    """Return a BEGIN record."""
    return Begin(name, 5, "chat", "a", "u", "m", "openai", "chat", "t")


def end_of(name: str, body: int = BODY) -> End:
    """Return an END record with two bodies."""
    facts = Prediction(name, 5, "chat", "a", "u", "m", "openai", "chat", "t", 200, 0.5, 0.25, 0.25)
    return End(facts, (), Payload(b"q" * body, b"a" * body))


def now_us() -> int:
    """Return the machine's time."""
    return time.time_ns() // 1000


def tell(line: str) -> None:
    """Hand a line to the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def write_until_killed(directory: Path) -> None:
    """Serve requests eight at a time; print each id once it is acknowledged."""
    config = RecordConfig(segment_bytes=65_536)
    spool = Spool.open(directory, worker="w0", config=config, now_us=now_us)
    ids = IdSource(now_us)

    async def serve() -> None:
        while True:
            name = ids.new_id()
            spool.begin(begin_of(name))
            if await spool.flushed():
                tell(f"begin {name}")
            spool.end(end_of(name))
            if await spool.flushed():
                tell(f"end {name}")

    await asyncio.gather(*[serve() for _ in range(8)])


def fill_disk(directory: Path, policy: str) -> dict[str, object]:
    """Log on a small disk until a record is lost, make room, log on; tell what happened."""
    clock = [1_000_000]
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(1 << 20) * 3)
    config = RecordConfig.model_validate({"on_full": policy})
    spool = Spool.open(directory / "spool", worker="w0", config=config, now_us=lambda: clock[0])
    logged: list[str] = []
    taken = refused_at = 0
    unavailable_at = None
    while not refused_at:
        name = f"r{taken}"
        taken += 1
        spool.end(end_of(name, BODY + taken % 7))
        try:
            is_logged = spool.flush()
        except SpoolUnavailable:
            is_logged = False
        if not spool.available and unavailable_at is None:
            unavailable_at = taken
        if is_logged:
            logged.append(name)
        else:
            refused_at = taken
    full = spool.statistics()
    ballast.unlink()
    before_retry = spool.available
    clock[0] += 1_000_001
    after_retry = spool.available
    for name in ("after-0", "after-1"):
        spool.end(end_of(name))
        if spool.flush():
            logged.append(name)
    spool.close()
    return {
        "logged": logged,
        "refused_at": refused_at,
        "unavailable_at": unavailable_at,
        "before_retry": before_retry,
        "after_retry": after_retry,
        "full": full._asdict(),
        "after": spool.statistics()._asdict(),
    }


def spend_quota(directory: Path, policy: str) -> dict[str, object]:
    """Log beyond the quota on a small disk, let the ingest catch up, log on; tell what happened."""
    config = RecordConfig.model_validate(
        {"on_full": policy, "spool_bytes": 1 << 20, "segment_bytes": 1 << 18}
    )
    spool_dir = directory / "spool"
    spool = Spool.open(spool_dir, worker="w0", config=config, now_us=now_us)
    level, logged, taken, spares = SpoolLevel(spool_dir), [], 0, []
    free_bytes = Disk().free_bytes(directory)

    def serve() -> bool:
        nonlocal taken
        name = f"r{taken}"
        taken += 1
        spool.end(end_of(name))
        try:
            if not spool.flush():
                return False
        except SpoolUnavailable:
            return False
        logged.append(name)
        spares.append(spool.statistics().spare_bytes)
        return True

    while spool.available and serve():
        if taken % 50 == 0:
            spool.set_unread(level.measure().unread_bytes)
    spent = spool.statistics()
    after_spent = [serve() for _ in range(3)]
    # The ingest reads all, and says so.
    last = list_segments(spool_dir)[-1]
    mark = Watermark(last.source, last.number, last.size_bytes)
    MarkFile(spool_dir).publish({mark.source: mark}, 0)
    spool.set_unread(level.measure().unread_bytes)
    read = spool.statistics()
    after_read = [serve() for _ in range(3)]
    unlogged = spool.statistics().unlogged
    spool.close()
    allocated = sum(path.stat().st_blocks * 512 for path in spool_dir.iterdir())
    return {
        "logged": logged,
        "after_spent": after_spent,
        "after_read": after_read,
        "spent": spent._asdict(),
        "read": read._asdict(),
        "unlogged": unlogged,
        "most_spare": max(spares),
        "free": free_bytes,
        "allocated_beyond": allocated - sum(path.stat().st_size for path in spool_dir.iterdir()),
    }


PROGRAMS = {"fill": fill_disk, "quota": spend_quota}

if __name__ == "__main__":
    if sys.argv[1] == "write":
        asyncio.run(write_until_killed(Path(sys.argv[2])))
    else:
        tell(json.dumps(PROGRAMS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])))
