import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from storage.database import FILE_NAME, Database
from storage.errors import (
    DatabaseCorrupt,
    DatabaseFailed,
    DatabaseLocked,
    DatabaseUnreadable,
    MigrationFailed,
)
from storage.lock import WriterLock
from storage.migrations import STEPS, Step, migrate, schema_version
from storage.records import Alert, Attempt, Baseline, Delivery, Prediction, Verdict
from storage.text.layout import prepare_folder

NOW = 1_795_000_000_000_000


def now_us() -> int:
    """Return a fixed time."""
    return NOW


def columns(database: Database, table: str) -> list[str]:
    """Return the column names of a table."""
    with database.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608 (a constant of this file)
        return [column[0] for column in cursor.description or ()]


def test_a_fresh_file_has_the_newest_schema(tmp_path: Path) -> None:
    """Opening an empty folder creates every table and says which version it has."""
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        assert schema_version(cursor) == STEPS[-1].version
        assert cursor.execute("SELECT count(*) FROM payloads").fetchall() == [(0,)]
    database.close()


@pytest.mark.parametrize(
    ("table", "noun"),
    [
        ("verdicts", Verdict),
        ("baselines", Baseline),
        ("alerts", Alert),
        ("deliveries", Delivery),
    ],
)
def test_columns_are_the_fields_of_the_record(tmp_path: Path, table: str, noun: type) -> None:
    """A table's columns carry the record's names, in its order."""
    database = Database.open(tmp_path, now_us=now_us)
    assert columns(database, table) == list(noun.__struct_fields__)  # type: ignore[attr-defined]
    database.close()


def test_predictions_keep_every_field_of_a_prediction(tmp_path: Path) -> None:
    """The facts are the record, its signals, and where it stands in the log."""
    database = Database.open(tmp_path, now_us=now_us)
    fields = Prediction.__struct_fields__
    assert columns(database, "predictions") == [
        *fields, "prompt_chars", "response_chars", "language", "refusal",
        "batch", "source", "segment", "byte_offset", "has_payload",
        "unknown_tool", "json_valid", "empty_output", "repeated_output",
        "answer_language",
    ]  # fmt: skip
    database.close()


def test_attempts_keep_every_field_of_an_attempt(tmp_path: Path) -> None:
    """The table `attempts` is the record plus what it belongs to."""
    database = Database.open(tmp_path, now_us=now_us)
    found = columns(database, "attempts")
    assert found == ["prediction_id", "role", "route", *Attempt.__struct_fields__, "batch"]
    database.close()


def test_an_older_file_is_brought_forward(tmp_path: Path) -> None:
    """A file at version 1 gets the steps it lacks and keeps its rows."""
    Database.open(tmp_path, now_us=now_us).close()
    newer = (*STEPS, Step(99, "shoe size", ("ALTER TABLE feedback ADD COLUMN shoe INTEGER",)))
    with duckdb.connect(
        str(tmp_path / FILE_NAME), config={"file_search_path": str(tmp_path)}
    ) as connection:
        assert migrate(connection, now_us=NOW, steps=newer) == STEPS[-1].version
        assert migrate(connection, now_us=NOW, steps=newer) == 99
        assert connection.execute("SELECT count(shoe) FROM feedback").fetchall() == [(0,)]


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A half-applied step is rolled back whole."""
    broken = Step(1, "broken", ("CREATE TABLE one (a INTEGER)", "CREATE TABLE one (a INTEGER)"))
    with duckdb.connect(str(tmp_path / "file")) as connection:
        with pytest.raises(MigrationFailed, match="schema step 1"):
            migrate(connection, now_us=NOW, steps=(broken,))
        assert connection.execute("SHOW TABLES").fetchall() == []


def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    """The message names both versions and the way out, and the file is left alone."""
    Database.open(tmp_path, now_us=now_us).close()
    with duckdb.connect(str(tmp_path / FILE_NAME)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, 'later', now()::TIMESTAMP)")
    for opener in (
        lambda: Database.open_or_rebuild(tmp_path, now_us=now_us),
        lambda: Database.open_read_only(tmp_path),
    ):
        with pytest.raises(DatabaseUnreadable, match=r"999.*install the newer"):
            opener()
    assert (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("name", ["a,b", "a?b", "a\\b"])
def test_a_folder_that_duckdb_cannot_address_is_refused(tmp_path: Path, name: str) -> None:
    """A comma or the like in its path is named at once, before anything is recorded there."""
    with pytest.raises(DatabaseUnreadable, match="choose another folder"):
        Database.open(tmp_path / name, now_us=now_us)


def test_a_folder_of_any_other_name_is_served(tmp_path: Path) -> None:
    """Quotes, blanks, percent signs, globs and other alphabets are names like any other."""
    folder = tmp_path / "d'a\"t a% [ü]*{x};=#"
    database = Database.open(folder, now_us=now_us)
    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM payloads").fetchone() == (0,)
    database.close()


def test_a_reader_refuses_a_file_of_an_older_program(tmp_path: Path) -> None:
    """It cannot migrate the file, and says who can; a writer then does."""
    prepare_folder(tmp_path)
    with duckdb.connect(
        str(tmp_path / FILE_NAME), config={"file_search_path": str(tmp_path)}
    ) as connection:
        migrate(connection, now_us=NOW, steps=STEPS[:2])
    with pytest.raises(DatabaseUnreadable, match=r"version 2 .*`monitor serve`"):
        Database.open_read_only(tmp_path)
    Database.open(tmp_path, now_us=now_us).close()
    Database.open_read_only(tmp_path).close()


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """A DuckDB file with other tables is not written to."""
    with duckdb.connect(str(tmp_path / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    with pytest.raises(DatabaseUnreadable, match="not a prediction log"):
        Database.open(tmp_path, now_us=now_us)


def test_a_held_file_says_who_holds_it(tmp_path: Path) -> None:
    """A second process gets `DatabaseLocked` with the holder and the way out."""
    database = Database.open(tmp_path, now_us=now_us)
    program = (
        "import sys; from pathlib import Path; from storage.database import Database\n"
        "from storage.errors import DatabaseLocked\n"
        "try: Database.open_read_only(Path(sys.argv[1]))\n"
        "except DatabaseLocked as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "PID" in done.stdout
    assert "stop it" in done.stdout
    database.close()


def test_reading_a_folder_without_a_file_says_so(tmp_path: Path) -> None:
    """Read-only opening never creates anything."""
    with pytest.raises(DatabaseUnreadable, match="nothing has been recorded"):
        Database.open_read_only(tmp_path)
    assert list(tmp_path.iterdir()) == []


def blocks_of_the_catalog(path: Path) -> list[int]:
    """Return where the blocks begin that say which tables a file has: bytes from its start."""
    with duckdb.connect(str(path)) as connection:
        used = connection.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()
        row = connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()
    assert row is not None
    headers = 3 * 4096
    return [headers + block * row[0] for (block,) in used]


@pytest.mark.parametrize("place", ["header", "catalog"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, place: str) -> None:
    """The writer keeps the damaged file under another name and goes on with a fresh one."""
    Database.open(tmp_path, now_us=now_us).close()
    path = tmp_path / FILE_NAME
    # A free block is read by nobody: what is damaged must be in use.
    damaged = [0] if place == "header" else blocks_of_the_catalog(path)
    content = bytearray(path.read_bytes())
    for start in damaged:
        content[start + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DatabaseCorrupt, match="damaged"):
        Database.open_read_only(tmp_path)
    database, aside = Database.open_or_rebuild(tmp_path, now_us=now_us)
    assert aside is not None
    assert aside.read_bytes() == content
    with database.cursor() as cursor:
        assert schema_version(cursor) == STEPS[-1].version
    database.close()


def test_a_whole_file_is_not_set_aside(tmp_path: Path) -> None:
    """Opening a sound file reports nothing set aside."""
    Database.open(tmp_path, now_us=now_us).close()
    database, aside = Database.open_or_rebuild(tmp_path, now_us=now_us)
    assert aside is None
    database.close()


def test_reopening_outlives_the_old_connections(tmp_path: Path) -> None:
    """After `reopen` the rows are there and new cursors work."""
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO feedback (prediction_id, given_at, tenant) "
            "VALUES (uuid(), now()::TIMESTAMP, 't')"
        )
    database.reopen()
    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM feedback").fetchall() == [(1,)]
    assert database.statistics().reopened == 1
    database.close()
    with pytest.raises(DatabaseFailed, match="closed"), database.cursor():
        pass


def test_a_statement_that_fails_is_translated(tmp_path: Path) -> None:
    """DuckDB's own exceptions do not leave the folder."""
    database = Database.open(tmp_path, now_us=now_us)
    with pytest.raises(DatabaseFailed, match="no_such_table"), database.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT checksum FROM predictions",
        "SELECT * FROM corrupt",
        "SELECT 'corrupt'::UUID",
        "corrupt",
    ],
)
def test_words_of_a_statement_are_no_damage(tmp_path: Path, statement: str) -> None:
    """An error that quotes a word of damage from the statement does not pass for damage."""
    database = Database.open(tmp_path, now_us=now_us)
    with pytest.raises(DatabaseFailed), database.cursor() as cursor:
        cursor.execute(statement).fetchall()
    database.close()


def test_a_reader_that_meets_damage_leaves_word(tmp_path: Path) -> None:
    """A damaged block of rows shows when it is read, and the owner then knows of it."""
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO feedback (prediction_id, given_at, tenant, comment, batch)"
            " SELECT uuid(), now()::TIMESTAMP, 't', uuid()::VARCHAR, 0 FROM range(50_000)"
        )
        cursor.execute("CHECKPOINT")
        (block,) = cursor.execute(
            "SELECT max(block_id) FROM pragma_storage_info('feedback')"
            " WHERE column_name = 'comment'"
        ).fetchall()[0]
    database.close()
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[3 * 4096 + block * 262_144 + 1000] ^= 0xFF
    path.write_bytes(content)
    database = Database.open(tmp_path, now_us=now_us)
    assert database.damage is None
    with pytest.raises(DatabaseCorrupt):
        database.verify()
    assert database.damage is not None
    database.rebuild()
    assert database.damage is None
    database.verify()
    database.close()


def test_a_write_ahead_log_left_over_is_read(tmp_path: Path) -> None:
    """What a killed writer had committed shows to readers, and the log stays for the writer."""
    program = (
        "import os, sys; from pathlib import Path; from storage.database import Database\n"
        "with Database.open(Path(sys.argv[1]), now_us=lambda: 1).cursor() as cursor:\n"
        "    cursor.execute(\"INSERT INTO log_state VALUES ('left', 7)\")\n"
        "    os._exit(9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2]
    )
    assert killed.returncode == 9
    database = Database.open_read_only(tmp_path)
    assert database.statistics().wal_bytes > 0
    with database.cursor() as cursor:
        found = cursor.execute("SELECT value FROM log_state WHERE name = 'left'").fetchall()
    assert found == [(7,)]
    database.close()
    assert (tmp_path / f"{FILE_NAME}.wal").exists()


def test_a_checkpoint_waits_for_older_readers(tmp_path: Path) -> None:
    """While somebody reads what was before a change, the log stays; it is no fault."""
    database = Database.open(tmp_path, now_us=now_us)
    with database.cursor() as reader, database.cursor() as writer:
        reader.begin()
        reader.execute("SELECT * FROM log_state").fetchall()
        writer.execute("UPDATE log_state SET value = value + 1")
        assert not database.checkpoint()
        reader.rollback()
        assert database.checkpoint()
    database.close()


def test_statements_read_no_other_files(tmp_path: Path) -> None:
    """Whoever writes a statement, it reaches the log's own folders and nothing else."""
    (tmp_path / "secret.txt").write_text("key")
    database = Database.open(tmp_path / "data", now_us=now_us)
    for statement in (
        f"FROM read_text('{tmp_path}/secret.txt')",
        f"FROM read_text('{tmp_path}/data/archive/../../secret.txt')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        "SET enable_external_access = true",
    ):
        with pytest.raises(DatabaseFailed), database.cursor() as cursor:
            cursor.execute(statement).fetchall()
    with database.cursor() as cursor:
        cursor.execute(f"COPY (SELECT 1) TO '{tmp_path}/data/archive/own.parquet'")
        assert cursor.execute("SELECT count(*) FROM payloads").fetchall() == [(0,)]
    database.close()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second writer is refused until the first one lets go."""
    first, second = WriterLock(tmp_path), WriterLock(tmp_path)
    first.acquire()
    with pytest.raises(DatabaseLocked, match=r"gateway\.data_dir"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "was deleted"),
        (lambda path: Path(shutil.copy(path, path.with_name("x"))).replace(path), "was replaced"),
        (lambda path: path.write_bytes(bytes(100_000)), "was overwritten"),
    ],
)
def test_a_file_that_is_not_the_one_opened_is_noticed(
    harm: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    """Removed, replaced or overwritten under a running server: the next look says which."""
    database = Database.open(tmp_path, now_us=lambda: 0)
    database.check_file()
    harm(database.path)
    with pytest.raises(DatabaseFailed, match=said):
        database.check_file()
    database.close()


def test_a_file_that_is_damaged_when_it_is_opened_anew_is_set_aside(tmp_path: Path) -> None:
    """Opening anew goes on with a fresh file: a server must not try the same one for ever."""
    database = Database.open(tmp_path, now_us=lambda: 0)
    database.path.write_bytes(b"garbage" * 10_000)
    aside = database.reopen()
    assert aside is not None
    assert aside.read_bytes().startswith(b"garbage")
    database.check_file()
    assert database.reopen() is None
    database.close()


def test_a_file_that_was_cut_short_is_damaged(tmp_path: Path) -> None:
    """Trying again would not bring the end of the file back."""
    Database.open(tmp_path, now_us=lambda: 0).close()
    os.truncate(tmp_path / FILE_NAME, 20_000)
    database, aside = Database.open_or_rebuild(tmp_path, now_us=lambda: 0)
    assert aside is not None
    database.close()


def test_looking_at_the_file_does_not_give_its_lock_away(tmp_path: Path) -> None:
    """POSIX locks go with any descriptor that is closed: another process must stay refused."""
    database = Database.open(tmp_path, now_us=lambda: 0)
    database.check_file()
    database.statistics()
    program = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    command = [sys.executable, "-c", program, str(database.path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Conflicting lock" in found.stderr
    database.close()
