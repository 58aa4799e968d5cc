import hashlib
from pathlib import Path
from uuid import UUID

import duckdb
import msgspec
import pytest
from support.log_records import NOW, begin_of, id_of, now_us

from storage.database import FILE_NAME, Database
from storage.migrations import STEPS, migrate
from storage.watermarks import Pending, load_watermarks

ROWS = 5_000

_OLD_ROWS = f"""
INSERT INTO predictions
SELECT '{UUID(int=0)}'::UUID, make_timestamp({NOW} + i), 'chat', 'v', 'u', 'm', 'openai', 'chat',
    't', CASE WHEN i % 2 = 0 THEN 200 ELSE 502 END, 0.5, 0.4, 0.1, 'primary', 'bypass',
    CASE WHEN i = 1 THEN 'interrupted' WHEN i = 3 THEN 'client_closed' END, 1, NULL, false,
    NULL, NULL, NULL, NULL, 'stop', false, i, i, NULL, NULL, NULL, NULL, NULL, 1, 1, NULL, [],
    NULL, NULL, NULL, NULL, NULL
FROM range({ROWS}) t(i)
"""  # noqa: S608 (numbers of this file)
_OLD_SIGNALS = """
INSERT INTO features
SELECT id, started_at, route, variant, upstream, model_asked, role, cache, prompt_tokens,
    response_tokens, prompt_tokens * 4, 7, latency_s, ttft_s, time_per_output_token_s,
    finish_reason, 'en', false, false
FROM predictions
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a folder with a file of schema version 2, its rows and an open request."""
    Database.open(tmp_path, now_us=now_us).close()  # The folders that views look into.
    path = tmp_path / FILE_NAME
    path.unlink()
    with duckdb.connect(str(path), config={"file_search_path": str(tmp_path)}) as connection:
        migrate(connection, now_us=NOW, steps=STEPS[:2])
        connection.execute(_OLD_ROWS)
        connection.execute("UPDATE predictions SET id = md5(prompt_tokens::VARCHAR)::UUID")
        connection.execute(_OLD_SIGNALS)
        connection.execute(
            "INSERT INTO watermarks VALUES ('w0-1-1', 3, 512, 9, ?, false)",
            [msgspec.msgpack.encode([begin_of(1)])],
        )
    return tmp_path


def test_signals_move_to_the_facts(old: Path) -> None:
    """Every row keeps its signals and its order; what nobody noted is unknown."""
    database = Database.open(old, now_us=now_us)
    with database.cursor() as cursor:
        found = cursor.execute(
            "SELECT count(*), bool_and(prompt_chars = prompt_tokens * 4 AND response_chars = 7"
            " AND language = 'en' AND NOT refusal AND batch = 0), count(source),"
            " count(has_payload) FROM predictions"
        ).fetchall()
        assert found == [(ROWS, True, 0, 0)]
        rows = cursor.execute("SELECT prompt_tokens FROM predictions ORDER BY rowid").fetchall()
        assert [tokens for (tokens,) in rows] == list(range(ROWS))
    database.close()


def test_features_are_a_view(old: Path) -> None:
    """Latency of an interrupted request is unknown, a client that left is no error."""
    database = Database.open(old, now_us=now_us)
    with database.cursor() as cursor:
        found = cursor.execute(
            "SELECT model, latency_s, error FROM features ORDER BY started_at LIMIT 6"
        ).fetchall()
    assert found == [
        ("m", 0.5, False),
        ("m", None, True),
        ("m", 0.5, False),
        ("m", 0.5, False),
        ("m", 0.5, False),
        ("m", 0.5, True),
    ]
    database.close()


def test_old_rows_have_the_newest_signals_unknown(old: Path) -> None:
    """What was recorded as a fact is there; what takes the text is not read again."""
    database = Database.open(old, now_us=now_us)
    with database.cursor() as cursor:
        found = cursor.execute(
            "SELECT count(cache), count(unknown_tool), count(json_valid), count(empty_output),"
            " count(repeated_output), count(answer_language), count(prediction_value) FROM features"
        ).fetchall()
    assert found == [(ROWS, 0, 0, 0, 0, 0, 0)]
    database.close()


def test_an_open_request_stays_open(old: Path) -> None:
    """A begin that an older program read waits for its end; where it stands is unknown."""
    database = Database.open(old, now_us=now_us)
    with database.cursor() as cursor:
        (mark,) = load_watermarks(cursor).values()
    assert mark.pending == {id_of(1): Pending(begin_of(1))}
    assert (mark.segment, mark.byte_offset) == (3, 512)
    database.close()


_SHIPPED = (
    "2d348ed14fab",
    "b78f1884e13f",
    "803367616364",
    "364bd21eb4f9",
    "9d2aa3f7136a",
    "f19940fe7a70",
    "b8ccc5a30007",
    "f7a85f14916b",
    "3b770a38f837",
    "01e6768ed236",
    "c2585407678f",
)


def test_shipped_steps_are_never_edited() -> None:
    """Files have taken them: what a step says later never reaches those, a new step does."""
    told = [hashlib.sha256("\0".join(step.statements).encode()) for step in STEPS]
    assert tuple(one.hexdigest()[:12] for one in told[: len(_SHIPPED)]) == _SHIPPED


def test_the_language_of_answers_comes_to_files_of_the_version_before(old: Path) -> None:
    """A file that has the signals of answers gets the column and the view that shows it."""
    with duckdb.connect(str(old / FILE_NAME), config={"file_search_path": str(old)}) as connection:
        migrate(connection, now_us=NOW, steps=STEPS[:10])
        columns = {row[0] for row in connection.execute("DESCRIBE predictions").fetchall()}
        assert "answer_language" not in columns
        migrate(connection, now_us=NOW)
        connection.execute("SELECT answer_language FROM features")
