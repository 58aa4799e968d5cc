"""A process that writes and compacts without end, and says what it has committed."""

import sys
from contextlib import nullcontext
from pathlib import Path

from support.log_records import NOW, now_us

from storage.database import Database
from storage.lifecycle.compaction import compact


def main() -> None:
    """Write a thousand rows, say so, compact; until killed."""
    database = Database.open(Path(sys.argv[1]), now_us=now_us)
    while True:
        with database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO feedback (prediction_id, given_at, tenant, batch)"
                " SELECT uuid(), make_timestamp(range), 't', 1 FROM range(1000)"
            )
            row = cursor.execute("SELECT count(*) FROM feedback").fetchone()
        assert row is not None
        sys.stdout.write(f"{row[0]}\n")
        sys.stdout.flush()
        compact(database, now_us=NOW, pause=nullcontext)


if __name__ == "__main__":
    main()
