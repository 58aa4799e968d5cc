import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.log_records import SegmentWriter, begin_of, now_us, signals_of

from storage.database import Database
from storage.frames import FrameKind
from storage.ingest import Ingester
from storage.text.archive import TextArchive

ROOT = Path(__file__).parents[2]
ROUNDS = 5
RECORDS = 20_000

PROGRAM = """
import sys
from pathlib import Path
from support.log_records import now_us, signals_of
from storage.database import Database
from storage.ingest import Ingester, IngestOptions
from storage.text.archive import TextArchive
from storage.tailing import BatchLimits

data = Path(sys.argv[1])
database = Database.open(data, now_us=now_us)
options = IngestOptions(batch=BatchLimits(records=100))
ingester = Ingester(database, data / "spool", enrich=signals_of, now_us=now_us, options=options)
text = TextArchive(database, data / "spool", now_us)
print("ready", flush=True)
for turn in range(1_000_000):
    ingester.step()
    if turn % 5 == 4:
        text.step(flush=True)
    if turn % 7 == 6:
        database.checkpoint()
"""


def test_killed_at_any_point_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Five SIGKILLs of an ingesting, archiving, checkpointing process: every record once."""
    draw = random.Random(1)
    writer = SegmentWriter(tmp_path / "spool")
    writer.ends(range(RECORDS // 2))
    writer.rotate()
    writer.write(FrameKind.BEGIN, begin_of(RECORDS))
    writer.ends(range(RECORDS // 2, RECORDS))
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0.05, 0.6))
            process.send_signal(signal.SIGKILL)
    writer.die()
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        survived = cursor.execute("SELECT count(*) FROM predictions").fetchall()[0][0]
    ingester = Ingester(database, tmp_path / "spool", enrich=signals_of, now_us=now_us)
    while ingester.step().more:
        pass
    ingester.step()
    text = TextArchive(database, tmp_path / "spool", now_us)
    while text.step(flush=True).more:
        pass
    with database.cursor() as cursor:
        for table, key, rows in (
            ("predictions", "id", RECORDS + 1),
            ("attempts", "prediction_id", RECORDS),
            ("features", "id", RECORDS + 1),
            ("payloads", "id", RECORDS),
        ):
            counts = cursor.execute(f"SELECT count(*), count(DISTINCT {key}) FROM {table}")  # noqa: S608 (names of this loop)
            assert counts.fetchall() == [(rows, rows)], table
        total = cursor.execute("SELECT sum(n)::BIGINT FROM rollup_counts").fetchall()
        assert total == [(RECORDS + 1,)]
        alone = cursor.execute("SELECT id FROM predictions WHERE reason = 'interrupted'")
        assert len(alone.fetchall()) == 1
    database.close()
    assert 0 < survived < RECORDS, "the kills must fall while there is work"
