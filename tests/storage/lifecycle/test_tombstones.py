"""Who was forgotten stays so."""

from pathlib import Path

from support.log_records import NOW, SECOND, id_of, now_us

from storage.database import Database
from storage.lifecycle.tombstones import add_tombstones, load_tombstones


def test_a_user_is_forgotten_up_to_a_moment(tmp_path: Path) -> None:
    """Rows before it are covered, later ones and others' are not; the latest moment counts."""
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        add_tombstones(cursor, ["u1"], [], NOW - 9 * SECOND)
        add_tombstones(cursor, ["u1"], [], NOW)
        found = load_tombstones(cursor)
    database.close()
    assert found
    assert found.covers(id_of(1), "u1", NOW - 1)
    assert not found.covers(id_of(1), "u1", NOW)
    assert not found.covers(id_of(1), "u2", NOW - 1)
    assert not found.covers(id_of(1), None, 0)


def test_a_prediction_is_forgotten_for_good(tmp_path: Path) -> None:
    """An id comes back at no time."""
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        assert not load_tombstones(cursor)
        add_tombstones(cursor, [], [id_of(1)], NOW)
        found = load_tombstones(cursor)
    database.close()
    assert found.covers(id_of(1), None, NOW + SECOND)
    assert not found.covers(id_of(2), None, 0)
