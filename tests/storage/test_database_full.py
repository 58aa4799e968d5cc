import subprocess
import sys
from pathlib import Path

from support.log_records import SegmentWriter

ROOT = Path(__file__).parents[2]

PROGRAM = """
import resource, signal, sys
from pathlib import Path
from support.log_records import now_us, signals_of
from storage.database import Database, DatabaseLimits
from storage.errors import StorageError
from storage.ingest import Ingester, IngestOptions
from storage.tailing import BatchLimits

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
data = Path(sys.argv[1])
limits = DatabaseLimits(wal_autocheckpoint="200KB")
database = Database.open(data, now_us=now_us, limits=limits)
options = IngestOptions(batch=BatchLimits(records=200))
ingester = Ingester(database, data / "spool", enrich=signals_of, now_us=now_us, options=options)
ingester.step()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
failures = refused = 0
for _ in range(40):
    try:
        failures += ingester.step().failed is not None
    except StorageError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(60):
    ingester.step()
with database.cursor() as cursor:
    ids = cursor.execute("SELECT count(*), count(DISTINCT id) FROM predictions").fetchall()[0]
    rolled = cursor.execute("SELECT sum(n)::BIGINT FROM rollup_counts").fetchall()[0][0]
print(failures + refused, *ids, rolled)
"""


def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path) -> None:
    """Files that may not grow fail the steps; with room again every record is there once."""
    SegmentWriter(tmp_path / "spool").ends(range(5_000))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(1_400_000)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr
    failed, rows, distinct, rolled = map(int, done.stdout.split())
    assert failed > 0
    assert list(tmp_path.glob("*.damaged-*")) == []
    assert (rows, distinct, rolled) == (5_000, 5_000, 5_000)
