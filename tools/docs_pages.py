"""Writes the pages of docs/ that say what the code says: settings and commands.

`python tools/docs_pages.py` writes them, `--check` exits 1 when one is out of date.
"""

import ast
import inspect
import os
import re
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
# The rooms lie flat in the repository; an editable install is not needed to write about them.
sys.path.insert(0, str(ROOT))

from gateway.cli.main import COMMANDS  # noqa: E402  (after the path is set)
from gateway.config import Settings  # noqa: E402  (after the path is set)
from gateway.openapi_document import document_text  # noqa: E402  (after the path is set)
from router.durations import DurationSeconds  # noqa: E402  (after the path is set)
from storage.config import Days, SizeBytes  # noqa: E402  (as above)

WRITTEN = "<!-- Written by `make docs` from the code; change it there. -->"
CONFIGURATION = f"""\
# Configuration

{WRITTEN}

`monitor serve` takes the first of `--config FILE`, `$DRIFTGATE_CONFIG`, `./driftgate.yaml` and
`~/.config/driftgate/driftgate.yaml`. Without a file every model name is answered by the embedded
engine or, when `OPENAI_API_KEY` or `OPENAI_BASE_URL` is set, by that server, with the engine as
fallback.

`${{NAME}}` stands for an environment variable, `${{NAME:-else}}` for one with a default. Durations
are written `300ms`, `2s`, `1h30m`, `7d`, or as a number of seconds; retention in days or weeks:
`30d`, `4w`. A key that is not below is an error that names the nearest one.

`monitor check FILE` says whether a file is good and what it comes to, `monitor check --schema`
prints its JSON Schema, `monitor init` writes one to start from, and
[examples/driftgate.yaml](../examples/driftgate.yaml) uses every section. A running server takes a
changed file on its own and on SIGHUP; a file that is wrong is refused whole and the old one stays.
"""
COMMAND_LINE = f"""\
# Command line

{WRITTEN}

Data goes to stdout, messages to stderr. Exit codes: 0 good, 1 a gate tripped, 2 usage or
configuration, 3 not enough or stale data, 4 storage or server unreachable.
"""


def configuration_page() -> str:
    """Return docs/configuration.md: one table a section, in the order of the models."""
    return CONFIGURATION + "".join(_section("", Settings, depth=2))


def _section(path: str, model: type[BaseModel], *, depth: int) -> list[str]:
    comments = _comments(model)
    rows: list[str] = []
    inner: list[str] = []
    for name, field in model.model_fields.items():
        if name == "name" and not field.is_required():
            continue
        key = field.alias or name
        full = f"{path}.{key}" if path else key
        nested, suffix = _nested_model(field.annotation)
        if nested is not None:
            inner += _section(full + suffix, nested, depth=depth + bool(path))
        note = comments.get(name, "")
        if nested is not None and not note:
            note = (nested.__doc__ or "").partition("\n")[0]
        if not note:
            raise SystemExit(f"`{full}` has no meaning; write it as the comment of its field")
        rows.append(f"| `{key}` | {_kind(field, nested)} | {_default(field)} | {_cell(note)} |\n")
    title = f"`{path}`" if path else "The file"
    about = (model.__doc__ or "").strip().replace("``", "`")
    head = [f"\n{'#' * depth} {title}\n\n{about}\n\n", "| key | value | default | meaning |\n"]
    return [*head, "|---|---|---|---|\n", *rows, *inner]


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """Return what the comment at the end of each field's lines says."""
    found: dict[str, str] = {}
    # A section may take its fields from another one.
    for part in reversed(model.__mro__):
        if issubclass(part, BaseModel) and part is not BaseModel:
            found |= _comments_in(part)
    return found


def _comments_in(model: type[BaseModel]) -> dict[str, str]:
    lines = inspect.getsource(model).splitlines()
    (parsed,) = ast.parse("\n".join(lines)).body
    assert isinstance(parsed, ast.ClassDef)
    found = {}
    for node in parsed.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = [lines[i].partition("  # ")[2] for i in range(node.lineno - 1, _end(node))]
            found[node.target.id] = " ".join(part for part in text if part)
    return found


def _end(node: ast.AnnAssign) -> int:
    return node.end_lineno or node.lineno


def _nested_model(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model inside `X | None`, `dict[str, X]` or `tuple[X, ...]`, and how to name it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    suffixes: dict[Any, str] = {dict: ".NAME", tuple: "[]"}
    suffix = suffixes.get(typing.get_origin(annotation), "")
    for argument in typing.get_args(annotation):
        nested, deeper = _nested_model(argument)
        if nested is not None:
            return nested, suffix + deeper
    return None, ""


def _kind(field: FieldInfo, nested: type[BaseModel] | None) -> str:
    if nested is not None:
        containers: dict[Any, str] = {dict: "a mapping of names", tuple: "a list"}
        return containers.get(typing.get_origin(field.annotation), "a mapping")
    words = _words(field.annotation)
    bounds = [
        f"{sign} {getattr(item, name):g}"
        for item in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"))
        if getattr(item, name, None) is not None
    ]
    if _is_duration(field):
        return "duration"
    if _is_written_as(SizeBytes, field):
        return "size (`20GB`, or bytes)"
    if _is_written_as(Days, field):
        return "days (`30d`, `4w`)"
    return ", ".join([words, *bounds])


def _is_duration(field: FieldInfo) -> bool:
    return any(item in field.metadata for item in typing.get_args(DurationSeconds)[1:2])


def _is_written_as(alias: Any, field: FieldInfo) -> bool:
    marker = typing.get_args(alias)[1]
    inner = [one for part in typing.get_args(field.annotation) for one in typing.get_args(part)]
    return marker in field.metadata or marker in inner


def _words(annotation: Any) -> str:
    names: dict[Any, str] = {
        int: "whole number",
        float: "number",
        bool: "`true`, `false`",
        str: "text",
    }
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in {typing.Union, types.UnionType}:
        return _words(next(one for one in arguments if one is not type(None)))
    if origin is typing.Annotated:
        return _words(arguments[0])
    if origin is dict:
        return f"names to {_words(arguments[1])}"
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    return names.get(annotation) or str(annotation.__name__).replace("SecretStr", "text, secret")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or isinstance(value, BaseModel) or value in ({}, ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if _is_duration(field):
        return f"`{value:g}s`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def command_line_page() -> str:
    """Return docs/cli.md: the help of every command, as the command line prints it."""
    parts = [COMMAND_LINE]
    for words in ([], *([name] for name in COMMANDS)):
        parts += _help(words)
    return "".join(parts)


def _help(words: list[str]) -> list[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "driftgate", *words, "--help"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    title = " ".join(["monitor", *words])
    if result.returncode != 0:
        raise SystemExit(f"`{title} --help` failed:\n{result.stderr}")
    parts = [f"\n## `{title}`\n\n```\n{result.stdout}```\n"]
    if words:
        commands = result.stdout.partition("\nCommands:\n")[2]
        for name in re.findall(r"^  (\w+)", commands, flags=re.MULTILINE):
            parts += _help([*words, name])
    return parts


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are out of date."""
    pages = {
        "configuration.md": configuration_page(),
        "cli.md": command_line_page(),
        "openapi.json": document_text(),
    }
    for name, text in pages.items():
        path = ROOT / "docs" / name
        if arguments != ["--check"]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"docs/{name} is out of date; run `make docs`", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
