"""An empty prediction log, as a file to lay down: making one takes longer than most tests."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from support.log_records import now_us

from storage.database import FILE_NAME, Database


@functools.cache
def _content() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Database.open(Path(folder), now_us=now_us).close()
        return (Path(folder) / FILE_NAME).read_bytes()


def lay_empty_log(data_dir: Path) -> None:
    """Put the file that `Database.open` makes into a folder that has no log, lost or not."""
    if (data_dir / FILE_NAME).exists() or (data_dir / "archive").exists():
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / FILE_NAME).write_bytes(_content())


def open_empty_log(data_dir: Path, *, now_us: Callable[[], int] = now_us) -> Database:
    """Open the log of a folder, an empty one if it is new."""
    lay_empty_log(data_dir)
    return Database.open(data_dir, now_us=now_us)
