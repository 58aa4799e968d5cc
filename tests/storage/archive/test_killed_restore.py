import subprocess
import sys
from pathlib import Path

from support.log_archive import ArchivedLog
from support.log_records import NOW, SegmentWriter, end_of

from storage.database import FILE_NAME
from storage.frames import FrameKind
from storage.times import DAY_US

ROOT = Path(__file__).parents[3]
PROGRAM = """
import logging, os, signal, sys
from pathlib import Path
from storage.archive.facts import FactArchive
from storage.database import Database

class Kill(logging.Handler):
    def emit(self, record):
        if record.getMessage() == f"restored file {sys.argv[2]} of 4 of predictions":
            os.kill(os.getpid(), signal.SIGKILL)

logging.basicConfig(level=logging.INFO, handlers=[Kill()])
database = Database.open(Path(sys.argv[1]), now_us=lambda: 1)
FactArchive(database, now_us=lambda: 1).restore_if_needed()
"""


def test_a_restore_that_is_killed_starts_over(tmp_path: Path) -> None:
    """SIGKILL in the middle, twice, leaves a file that the next start makes whole."""
    log = ArchivedLog(tmp_path)
    spool = SegmentWriter(log.spool)
    for number in range(4):
        spool.write(FrameKind.END, end_of(number, started_at=NOW - number * DAY_US))
    log.drain()
    log.archive.archive_now()
    before = log.dump()
    log.database.close()
    for path in tmp_path.glob(f"{FILE_NAME}*"):
        path.unlink()
    for file in ("2", "4"):
        killed = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path), file], check=False, cwd=ROOT
        )
        assert killed.returncode == -9
    log.open()
    assert log.restored is not None
    assert log.dump() == before
    log.database.close()
