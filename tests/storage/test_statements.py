"""What a user's SQL may be."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.report_log import fill, known_traffic, opened

from storage.errors import QueryRefused
from storage.statements import checked_condition, checked_statement


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a log with known traffic."""
    data_dir: Path = tmp_path_factory.mktemp("log")
    fill(data_dir, known_traffic())
    with opened(data_dir) as database, database.cursor() as cursor:
        yield cursor


@pytest.mark.parametrize(
    "text",
    [
        "SELECT route, count(*) FROM predictions GROUP BY ALL",
        "FROM features SELECT avg(latency_s)",
        "WITH a AS (SELECT 1 x), b AS (FROM a) SELECT * FROM b",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
        "SELECT * FROM predictions p JOIN attempts a ON a.prediction_id = p.id",
        "SELECT unnest(tags) FROM predictions",
        "SELECT * FROM (VALUES (1), (2)) v(a) UNION SELECT range FROM range(3)",
        "SELECT status, rank() OVER (ORDER BY latency_s) FROM main.predictions",
        "DESCRIBE predictions",
        "SUMMARIZE attempts",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "/* why */ EXPLAIN (FORMAT json) SELECT 1;",
        "SELECT column_name FROM information_schema.columns",
        "SELECT relname FROM pg_catalog.pg_class",
        "SELECT 1 -- one",
    ],
)
def test_statements_that_read_are_taken(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """What is checked also runs."""
    connection.execute(checked_statement(connection, text)).fetchall()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DELETE FROM predictions", "DELETE"),
        ("WITH x AS (DELETE FROM predictions RETURNING *) SELECT * FROM x", "DELETE inside"),
        ("SELECT (WITH y AS (UPDATE predictions SET status = 1 RETURNING 1) FROM y)", "UPDATE"),
        ("EXPLAIN ANALYZE DELETE FROM predictions", "DELETE"),
        ("EXPLAIN ANALYZE COPY predictions TO 'x.csv'", "COPY"),
        ("EXPLAIN (ANALYZE) WITH x AS (DELETE FROM predictions RETURNING *) FROM x", "DELETE"),
        ("EXPLAIN EXPLAIN SELECT 1", "cannot be read"),
        ("EXPLAIN (SELECT 1)", "0 statements"),
        ("COPY predictions TO 'payloads/x.csv'", "COPY"),
        ("ATTACH ':memory:' AS other", "ATTACH"),
        ("INSTALL httpfs", "LOAD"),
        ("SET threads = 1", "SET"),
        ("USE main", "SET"),
        ("PRAGMA version", "PRAGMA"),
        ("CALL checkpoint()", "CALL"),
        ("BEGIN", "TRANSACTION"),
        ("PREPARE x AS SELECT 1", "PREPARE"),
        ("CONNECT 'quack:host'", "refused"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT 1; DROP TABLE predictions", "2 statements"),
        ("", "0 statements"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM checkpoint()", "`checkpoint`"),
        ("SELECT * FROM Force_Checkpoint()", "`force_checkpoint`"),
        ("SELECT * FROM enable_logging()", "`enable_logging`"),
        ("FROM read_csv('/etc/passwd')", "`read_csv`"),
        ("SELECT * FROM (FROM read_text('/etc/passwd'))", "`read_text`"),
        ("SELECT (SELECT content FROM read_text('/etc/passwd'))", "`read_text`"),
        ("FROM glob('/*')", "`glob`"),
        ("FROM read_parquet('payloads/*/*.parquet')", "`read_parquet`"),
        ("FROM query('SELECT 1')", "`query`"),
        ("FROM duckdb_secrets()", "`duckdb_secrets`"),
        ("FROM '/etc/passwd'", "no table `/etc/passwd`"),
        ('FROM "payloads/none/0.parquet"', "no table"),
        ("FROM connection", "no table `connection`"),
        ('FROM "x.json", (WITH "x.json" AS (SELECT 1) SELECT 1)', "no table `x.json`"),
        ("FROM pg_catalog.pg_settings", "`pg_settings` is refused"),
        ('FROM information_schema."x.csv"', "no table `x.csv`"),
        ("SELECT nextval('a')", "`nextval`"),
        ("SELECT write_log('x')", "`write_log`"),
        ("SELECT sleep_ms(1)", "`sleep_ms`"),
        ("FROM predicitons", "did you mean `predictions`?"),
        (f"SELECT {'(' * 5000}1{')' * 5000}", "nested|cannot be read"),
    ],
)
def test_statements_that_act_are_refused(
    connection: duckdb.DuckDBPyConnection, text: str, said: str
) -> None:
    """By kind, by parse tree, by function, by table; each with a reason."""
    with pytest.raises(QueryRefused, match=said.replace("?", r"\?")):
        checked_statement(connection, text)


@pytest.mark.parametrize(
    "text",
    [
        "latency_s > 1",
        "status >= 500 OR reason IS NOT NULL -- both",
        "list_contains(tags, 'a')",
        "(status = 200) OR (status = 500)",
        "id IN (SELECT prediction_id FROM attempts WHERE attempt_no > 1)",
    ],
)
def test_conditions_are_taken(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """They stand in parentheses, whatever they end with."""
    condition = checked_condition(connection, "predictions", text)
    found = connection.sql("FROM predictions").filter(condition)
    assert found.shape[0] > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latncy_s > 1", '"latency_s"'),
        ("true OR (SELECT 1 FROM nowhere)", "nowhere"),
        ("true) UNION SELECT 1 FROM predictions WHERE (true", "more than one"),
        ("true) GROUP BY (route", "more than one"),
        ("true) LIMIT (1", "more than one"),
        ("true) OR (true", "cannot be read"),
        ("true)) OR ((true", "cannot be read"),
        ("true); DROP TABLE predictions; SELECT (1", "3 statements"),
        ("true) --", "cannot be read"),
        ("id IN (SELECT id FROM checkpoint())", "checkpoint"),
        ("id IN (WITH x AS (DELETE FROM predictions RETURNING id) FROM x)", "DELETE"),
        (" ", "empty"),
    ],
)
def test_other_conditions_are_refused(
    connection: duckdb.DuckDBPyConnection, text: str, said: str
) -> None:
    """One boolean expression, of columns that are there."""
    with pytest.raises(QueryRefused, match=said):
        checked_condition(connection, "predictions", text)
