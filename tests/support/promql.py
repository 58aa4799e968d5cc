"""The queries of a board's JSON, as text and as syntax trees."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import promql_parser

RATE_INTERVAL = timedelta(seconds=12_345)
"""Stands for `$__rate_interval` in a tree."""

_TREE = {
    "$__rate_interval": "12345s",
    "$job": ".+",
    "$instance": ".+",
    "$route": ".+",
}


class Target(NamedTuple):
    """One query of a panel."""

    panel: str
    letter: str
    expr: str

    @property
    def name(self) -> str:
        """Return panel and letter."""
        return f"{self.panel} {self.letter}"


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a board, rows left out."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets(board: Mapping[str, Any]) -> list[Target]:
    """Return every query of a board."""
    return [
        Target(panel["title"], target["refId"], target["expr"])
        for panel in panels(board)
        for target in panel["targets"]
    ]


def filled(expr: str, values: Mapping[str, str] = _TREE) -> str:
    """Return a query with the board's variables replaced."""
    for name, value in values.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def nodes(expr: str) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield every node of a query's tree, with the names of the functions around it."""
    yield from _below(promql_parser.parse(filled(expr)), ())


def _below(node: Any, around: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    yield node, around
    if isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _below(argument, (*around, node.func.name))
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield from _below(child, around)
