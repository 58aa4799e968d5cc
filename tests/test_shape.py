"""The budgets that keep rooms small. Who exceeds one splits; there are no waivers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "driftgate",
    "gateway",
    "router",
    "storage",
    "stats",
    "monitors",
    "dashboards",
    "local_engine",
)
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MODULE_LINES = 400
FUNCTION_LINES = 50
NESTING = 4
PARAMETERS = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def functions(tree: ast.Module) -> Iterator[Function]:
    """Yield every function, methods and inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Count lines from the first statement that is no docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]  # (parsed code has lines)


def parameters(function: Function) -> int:
    """Count parameters of every kind but `self` and `cls`."""
    a = function.args
    names = [one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if one]
    return len([name for name in names if name not in {"self", "cls"}])


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Return how many blocks deep the deepest statement of a function stands."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            continue
        # `elif` is an `if` in the `else` of another, and reads as one block.
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and [child] == node.orelse
        deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not is_elif)))
    return deepest


def excesses(source: str) -> list[str]:
    """Say which budgets a module exceeds, and by how much."""
    tree = ast.parse(source)
    measures = [("module", len(source.splitlines()), MODULE_LINES, "lines")]
    for one in functions(tree):
        measures += [
            (one.name, body_lines(one), FUNCTION_LINES, "body lines"),
            (one.name, nesting(one), NESTING, "nested blocks"),
            (one.name, parameters(one), PARAMETERS, "parameters"),
        ]
    return [
        f"`{name}` has {measured} {unit} of {budget}"
        for name, measured, budget, unit in measures
        if measured > budget
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_to_the_budgets(path: Path) -> None:
    """No module and no function in it is larger than it may be."""
    assert excesses(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "excess"),
    [
        ("x = 1\n" * 401, "`module` has 401 lines"),
        ("def f():\n    '''Doc.'''\n" + "    x = 1\n" * 51, "`f` has 51 body lines"),
        ("class C:\n    def f(self, a, b, /, c, *d, e, f, **g): ...\n", "`f` has 7 parameters"),
        (
            "def f():\n if 1:\n  for x in y:\n   with z:\n    if 2:\n     while 1: pass\n",
            "`f` has 5 nested blocks",
        ),
    ],
)
def test_an_excess_is_found(source: str, excess: str) -> None:
    """The measures count what they say."""
    (found,) = excesses(source)
    assert found.startswith(excess)


def test_a_chain_of_elif_is_one_block() -> None:
    """Branches of one decision do not nest."""
    chain = "".join(f" elif x == {i}:\n  pass\n" for i in range(9))
    assert excesses(f"def f(x):\n if x:\n  pass\n{chain}") == []


def test_every_folder_is_measured() -> None:
    """A folder that moves or is renamed is not silently left out."""
    measured = {path.relative_to(ROOT).parts[0] for path in MODULES}
    assert measured == set(FOLDERS)
