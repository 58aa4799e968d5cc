"""What a user's SQL may be: one statement that reads the log.

Three walls, because none alone is enough. The statement's parse tree is held against the lists
below (a SELECT may call `checkpoint()`, and a CTE may DELETE). It then runs in a read-only
transaction. Files outside the data directory are closed by the instance's `allowed_directories`.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import duckdb
import msgspec

from storage.errors import QueryRefused

_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {
    "unnest", "range", "generate_series", "json_each", "json_tree", "duckdb_tables",
    "duckdb_views", "duckdb_columns", "duckdb_functions", "duckdb_types", "duckdb_keywords",
    "pragma_table_info", "pg_timezone_names",
}  # fmt: skip
# They write, wait, or look at what is no row of the log.
_REFUSED_FUNCTIONS = {
    "nextval", "currval", "setval", "setseed", "write_log", "sleep_ms", "query", "query_table",
    "getvariable", "current_setting", "json_execute_serialized_sql",
}  # fmt: skip
# Views over refused table functions.
_REFUSED_VIEWS = {"pg_settings", "duckdb_logs", "duckdb_databases", "pragma_database_list"}
_LIKE_A_FILE = re.compile(r"[./\\\\:*?]")
_EXPLAIN = re.compile(
    r"\s*EXPLAIN\s+(?:ANALYZE\s+)?(?:\([^()]*\)\s*)?(.*)", re.IGNORECASE | re.DOTALL
)
_TYPES = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_ALLOWED = "one SELECT, EXPLAIN, DESCRIBE, SUMMARIZE or SHOW is taken"


class Tree(msgspec.Struct):
    """What `json_serialize_sql` gives."""

    error: bool
    statements: list[dict[str, Any]] = []
    error_message: str = ""


class _Known(NamedTuple):
    """Names in lower case: the log's, DuckDB's own views, the query's own."""

    tables: set[str]
    catalog: set[str]
    local: set[str]


def checked_statement(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return a user's statement, without what stands behind its last semicolon.

    Raises
    ------
    QueryRefused
        It is not one statement that reads the log.
    """
    found = _one_statement(connection, text)
    query = str(found.query).strip().rstrip(";").rstrip()
    if found.type == duckdb.StatementType.EXPLAIN:
        inner = _EXPLAIN.fullmatch(query)
        explained = inner.group(1) if inner is not None else ""
        if _one_statement(connection, explained).type != duckdb.StatementType.SELECT:
            raise QueryRefused(f"only a SELECT is explained; {_ALLOWED}")
        _check_tree(connection, _tree(connection, explained))
    else:
        _check_tree(connection, _tree(connection, query))
    return query


def checked_condition(connection: duckdb.DuckDBPyConnection, table: str, text: str) -> str:
    """Return a user's boolean expression over the columns of a table, in parentheses.

    Raises
    ------
    QueryRefused
        It is more than one expression, names what is not there, or is no condition.
    """
    if not text.strip():
        raise QueryRefused("the condition is empty; write a boolean expression")
    # The line break ends a comment that would swallow the parenthesis.
    condition = f"(\n{text}\n)"
    query = f"SELECT 1 FROM {table} WHERE {condition}"  # noqa: S608 (a table of ours, and what is checked here)
    _one_statement(connection, query, of="the condition")
    tree = _tree(connection, query)
    node = tree[0]["node"]
    more = set(node) - {"type", "cte_map", "select_list", "from_table", "where_clause"}
    if node["type"] != "SELECT_NODE" or more - {"aggregate_handling"} or node.get("cte_map"):
        raise QueryRefused(f"`{text}` is more than one condition; write one boolean expression")
    # `a) OR (b` reads well in parentheses, and would stand beside other conditions, not under them.
    _one_statement(connection, f"SELECT 1 WHERE\n{text}\n", of="the condition")
    _check_tree(connection, tree)
    try:
        connection.execute(f"EXPLAIN {query}").fetchall()
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.DataError) as error:
        raise QueryRefused(
            f"the condition `{text}` does not fit `{table}`: {said(error)}"
        ) from None
    return condition


def said(error: duckdb.Error) -> str:
    """Return DuckDB's message without its class, its drawing and its line breaks."""
    lines = [line.strip() for line in str(error).split("\n\nLINE ")[0].splitlines()]
    return " ".join(line for line in lines if line)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names what may have been meant."""
    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(sorted(names))}"


def _one_statement(
    connection: duckdb.DuckDBPyConnection, text: str, *, of: str = "the query"
) -> Any:
    try:
        found = connection.extract_statements(text)
        kinds = [one.type for one in found]
    except duckdb.ParserException as error:
        raise QueryRefused(f"{of} cannot be read: {said(error)}") from None
    except ValueError:
        # A kind of statement that the client library does not know by name.
        raise QueryRefused(f"this statement is refused; {_ALLOWED}") from None
    if len(found) != 1:
        raise QueryRefused(f"{of} has {len(found)} statements; {_ALLOWED}")
    if kinds[0] not in _TYPES:
        raise QueryRefused(f"{kinds[0].name} is refused; {_ALLOWED}")
    return found[0]


def _tree(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    row = connection.execute(
        "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true,"
        " skip_default := true)::VARCHAR",
        [query],
    ).fetchone()
    try:
        found = msgspec.json.decode(row[0] if row else b"", type=Tree)
    except RecursionError:
        raise QueryRefused("the query is nested too deeply") from None
    if found.error or len(found.statements) != 1:
        raise QueryRefused(f"{found.error_message or 'the query cannot be read'}; {_ALLOWED}")
    return found.statements


def _check_tree(connection: duckdb.DuckDBPyConnection, tree: list[dict[str, Any]]) -> None:
    nodes = list(_nodes(tree))
    known = None
    for node in nodes:
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in _READING_NODES:
            raise QueryRefused(
                f"{kind.split('_', maxsplit=1)[0]} inside of a query is refused; {_ALLOWED}"
            )
        if kind == "TABLE_FUNCTION":
            _check_table_function(str(node["function"].get("function_name", "")).lower())
        elif kind == "BASE_TABLE":
            known = known or _known(connection, nodes)
            _check_table(node, known)
        name = str(node.get("function_name", "")).lower()
        if node.get("class") in {"FUNCTION", "WINDOW"} and name in _REFUSED_FUNCTIONS:
            raise QueryRefused(f"the function `{name}` is refused: it does not read the log")


def _check_table_function(name: str) -> None:
    if name not in _TABLE_FUNCTIONS:
        known = ", ".join(sorted(_TABLE_FUNCTIONS))
        raise QueryRefused(f"the table function `{name}` is refused; these are not: {known}")


def _check_table(node: dict[str, Any], known: _Known) -> None:
    name = str(node.get("table_name", ""))
    low = name.lower()
    if low in _REFUSED_VIEWS:
        raise QueryRefused(f"the view `{name}` is refused: it does not read the log")
    if low in known.tables or low in known.catalog:
        return
    # Outside of its own query a CTE's name would be a file's after all.
    if low not in known.local or _LIKE_A_FILE.search(low):
        raise QueryRefused(f"there is no table `{name}`{nearest(name, known.tables)}")


def _known(connection: duckdb.DuckDBPyConnection, nodes: list[dict[str, Any]]) -> _Known:
    """Names that are no file and no Python variable: those DuckDB would look for as well."""
    rows = connection.execute(
        "SELECT lower(table_name), internal FROM duckdb_tables()"
        " UNION SELECT lower(view_name), internal FROM duckdb_views()"
    ).fetchall()
    maps = [node["cte_map"] for node in nodes if isinstance(node.get("cte_map"), dict)]
    local = [entry["key"] for one in maps for entry in one.get("map", [])]
    local += [node["cte_name"] for node in nodes if "cte_name" in node]
    return _Known(
        {name for name, internal in rows if not internal},
        {name for name, internal in rows if internal},
        {str(name).lower() for name in local},
    )


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Yield every object of the tree; without recursion, since depth is the user's choice."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
