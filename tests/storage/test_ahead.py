import threading
from pathlib import Path

import pytest

from storage.ahead import open_meanwhile
from storage.database import Database
from storage.errors import DatabaseUnreadable


def test_file_opened_meanwhile_is_read(tmp_path: Path) -> None:
    """The work runs in the caller's thread, and the file is open behind it."""
    Database.open(tmp_path, now_us=lambda: 0).close()
    worked: list[int] = []

    database = open_meanwhile(tmp_path, lambda: worked.append(threading.get_ident()))

    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
    database.close()
    assert worked == [threading.get_ident()]


def test_error_of_opening_reaches_the_caller(tmp_path: Path) -> None:
    """A folder without a file says so as `open_read_only` does, when the work is done."""
    worked: list[bool] = []

    with pytest.raises(DatabaseUnreadable, match="does not exist"):
        open_meanwhile(tmp_path, lambda: worked.append(True))

    assert worked == [True]
