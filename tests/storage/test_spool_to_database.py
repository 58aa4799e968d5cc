import signal
import subprocess
import sys
import time
from pathlib import Path

from support.log_records import begin_of, end_of, now_us, signals_of

from storage.config import RecordConfig
from storage.database import Database
from storage.ingest import Ingester, IngestOptions
from storage.records import Feedback, WorkerStats
from storage.spool import Spool

ROOT = Path(__file__).parents[2]

WORKER = """
import itertools, sys
from pathlib import Path
from support.log_records import begin_of, end_of, now_us
from storage.config import RecordConfig
from storage.spool import Spool

first = int(sys.argv[2])
config = RecordConfig(segment_bytes=65_536)
spool = Spool.open(Path(sys.argv[1]), worker=f"w{first}", config=config, now_us=now_us)
for number in itertools.count(first):
    spool.begin(begin_of(number))
    assert spool.flush()
    spool.end(end_of(number))
    assert spool.flush()
    print(end_of(number).prediction.id, flush=True)
"""


def ingester_of(database: Database, spool: Path, options: IngestOptions) -> Ingester:
    """Return an ingester over a spool folder."""
    return Ingester(database, spool, enrich=signals_of, now_us=now_us, options=options)


def test_what_a_worker_spools_is_ingested(tmp_path: Path) -> None:
    """Over rotations and an orderly close: records, feedback and statistics all arrive."""
    config = RecordConfig(segment_bytes=65_536)
    spool = Spool.open(tmp_path / "spool", worker="w0", config=config, now_us=now_us)
    database = Database.open(tmp_path, now_us=now_us)
    ingester = ingester_of(database, tmp_path / "spool", IngestOptions(grace_s=-1e12))
    for number in range(1_000):
        spool.begin(begin_of(number))
        spool.end(end_of(number))
        if number % 100 == 0:
            assert spool.flush()
            assert ingester.step().losses == ()
    spool.stats(WorkerStats("w0", now_us()))
    spool.feedback(Feedback(end_of(1).prediction.id, now_us(), "t", 1.0))
    spool.close()
    while ingester.step().more:
        pass
    with database.cursor() as cursor:
        counts = cursor.execute("SELECT count(*), count(DISTINCT id) FROM predictions").fetchall()
        assert counts == [(1_000, 1_000)]
        assert cursor.execute("SELECT count(*) FROM feedback").fetchall() == [(1,)]
        (mark,) = cursor.execute("SELECT finished, segment > 1 FROM watermarks").fetchall()
        assert mark == (True, True)
    assert ingester.sweep() > 2
    assert list((tmp_path / "spool").glob("*.seg")) == []
    database.close()


def test_killed_workers_lose_no_acknowledged_record(tmp_path: Path) -> None:
    """Three workers killed while they write and while it is ingested: each id exactly once."""
    database = Database.open(tmp_path, now_us=now_us)
    ingester = ingester_of(database, tmp_path / "spool", IngestOptions())
    acknowledged: set[str] = set()
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "spool"), str(turn * 1_000_000)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        ) as process:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())
            until = time.monotonic() + 0.2
            while time.monotonic() < until:
                ingester.step()
            process.send_signal(signal.SIGKILL)
            acknowledged.update(line.strip() for line in process.stdout if line.endswith("\n"))
    for _ in range(10):
        ingester.step()
    with database.cursor() as cursor:
        rows = cursor.execute("SELECT id::VARCHAR, reason FROM predictions").fetchall()
    stored = [row[0] for row in rows]
    whole = {row[0] for row in rows if row[1] is None}
    assert len(acknowledged) > 100
    assert acknowledged <= whole
    assert len(stored) == len(set(stored))
    assert len(stored) - len(acknowledged) <= 3
    database.close()
