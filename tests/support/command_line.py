"""`monitor`, called in this process as a user calls it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from gateway.cli.exits import run_command
from gateway.cli.main import cli


class Done(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def make_run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `monitor`."""

    def monitor(*arguments: object) -> Done:
        code = run_command(cli, [str(word) for word in arguments])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return monitor


def leave_configuration(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Work in a folder without a configuration, and without one in the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", folder)
    for name in ("DRIFTGATE_CONFIG", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
