import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.log_records import now_us
from support.text_log import TextLog

from storage.database import Database
from storage.text.archive import CHUNK_BYTES


@pytest.fixture(scope="session")
def empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty database: making one takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty") / "data"
    Database.open(folder, now_us=now_us).close()
    return folder


@pytest.fixture
def open_log(empty_data: Path, tmp_path: Path) -> Iterator[Callable[..., TextLog]]:
    """Return what opens a log in a named folder, an empty one if it is new; closed at the end."""
    opened = []

    def open_log(
        name: str = "data", *, source: str = "w0-1-1", chunk_bytes: int = CHUNK_BYTES
    ) -> TextLog:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(empty_data, folder)
        opened.append(TextLog(folder, source=source, chunk_bytes=chunk_bytes))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: Callable[..., TextLog]) -> TextLog:
    """Return an empty log."""
    return open_log()
