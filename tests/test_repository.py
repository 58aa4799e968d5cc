"""What must hold for the repository as a whole."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from gateway.settings import settings_from_text

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("gateway", "router", "storage", "stats", "monitors", "dashboards", "local_engine")


def test_no_test_folder_is_a_package() -> None:
    """`tests/stats/__init__.py` would be imported instead of `stats`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("room", ROOMS)
def test_packages_are_empty(room: str) -> None:
    """Importing a package imports nothing else; the launcher alone holds code."""
    filled = [path for path in (ROOT / room).rglob("__init__.py") if path.read_text().strip()]
    assert filled == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_with_modules_is_a_package(room: str) -> None:
    """A folder without `__init__.py` would not be seen by the import contracts."""
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_nobody_else_provides_our_names() -> None:
    """No other installed distribution would be imported in place of one of our folders."""
    providers = importlib.metadata.packages_distributions()
    others = {name: set(providers.get(name, [])) - {"driftgate"} for name in (*ROOMS, "driftgate")}
    assert {name: found for name, found in others.items() if found} == {}


def test_tests_mirror_the_folders() -> None:
    """A folder of tests belongs to a folder of code, but for what tests share or cross."""
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= {*ROOMS, "e2e"}


def test_every_pin_is_exact() -> None:
    """Constraints name one version each, and no place that packages come from."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if line.count("==") != 1 or "/" in line or " " in line] == []


def test_every_declared_dependency_is_pinned() -> None:
    """What the project declares is in the constraints, but for what must not be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = [group for name, group in extras.items() if name != "grafana"]
    groups += [project["project"]["dependencies"], *project["dependency-groups"].values()]
    declared = {name_of(one) for group in groups for one in group if isinstance(one, str)}
    pinned = {name_of(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert declared - pinned == set()


def name_of(requirement: str) -> str:
    """Return the name of `name[extra]>=1`, as package indexes compare it."""
    name = requirement
    for mark in "[=<>!~; ":
        name = name.split(mark, maxsplit=1)[0]
    return name.lower().replace("_", "-")


def test_generated_pages_are_up_to_date() -> None:
    """The pages that `make docs` writes say what the code says now."""
    result = subprocess.run(
        [sys.executable, "tools/docs_pages.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of a page names a file that is there."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_configuration_of_the_readme_is_good() -> None:
    """The README's YAML is taken as it stands."""
    environ = {"OPENAI_API_KEY": "sk-1", "WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 5}
    blocks = (ROOT / "README.md").read_text().split("```yaml\n")[1:]
    assert blocks
    for block in blocks:
        text = block.partition("```")[0]
        assert isinstance(yaml.safe_load(text), dict)
        assert settings_from_text(text, environ, source="README.md")
