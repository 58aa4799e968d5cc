"""Spool and database on one disk that fills up and empties again, under a running gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("disk_full.py")
DISK = "size=24m"


@contextmanager
def started(disk: Path, policy: str) -> Iterator[subprocess.Popen[str]]:
    """Start the program on a tmpfs that vanishes with it."""
    disk.mkdir()
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    script = f'mount -t tmpfs -o {DISK} none "$1" && exec "$2" "$3" "$1" "$4"'
    with subprocess.Popen(
        [*unshare, "sh", "-c", script, "sh", str(disk), sys.executable, str(PROGRAM), policy],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Give what each policy made of a full disk; both run at once, they mostly wait."""
    home = tmp_path_factory.mktemp("disks")
    with ExitStack() as stack:
        programs = {
            policy: stack.enter_context(started(home / policy, policy))
            for policy in ("fail_open", "fail_closed")
        }
        found = {}
        for policy, program in programs.items():
            output, problems = program.communicate(timeout=100)
            assert program.returncode == 0, problems
            found[policy] = json.loads(output)
        return found


@pytest.fixture
def served(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give the story of `fail_open`."""
    return told["fail_open"]


@pytest.fixture
def refused(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give the story of `fail_closed`."""
    return told["fail_closed"]


@pytest.mark.timeout(120)
def test_fail_open_serves_all_and_counts_what_has_no_record(served: dict[str, Any]) -> None:
    """Each answer has its row once, or is one of the unlogged: the counter equals the audit."""
    stored = [identity for identity, _, _ in served["rows"]]
    assert len(stored) == len(set(stored))
    assert (served["refused"], served["exit"]) == ({}, 0)
    assert served["answered_while_full"] > 0
    # Where only the BEGIN fitted, the row says `interrupted`; that record counts as unlogged.
    whole = {identity for identity, reason, _ in served["rows"] if reason is None}
    missing = set(served["answered"]) - whole
    assert len(missing) == served["unlogged"] > 0, served["log"]
    assert served["losses"] == []
    assert "the database failed and was opened anew" in served["log"]


@pytest.mark.timeout(120)
def test_fail_open_gives_up_bodies_first(served: dict[str, Any]) -> None:
    """Rows without bodies, and the bodies lost with their records, are those counted."""
    bare = sum(reason is None and not has_text for _, reason, has_text in served["rows"])
    assert bare > 0
    assert bare <= served["payloads_dropped"] <= bare + served["unlogged"]


@pytest.mark.timeout(120)
def test_fail_closed_answers_503_before_a_model_is_called(refused: dict[str, Any]) -> None:
    """Every answer has its row, and no model worked for a request that was refused."""
    assert set(refused["refused"]) == {"503 log_unavailable"}
    stored = {identity for identity, _, _ in refused["rows"]}
    assert set(refused["answered"]) <= stored
    assert len(refused["rows"]) == len(stored) == refused["model_calls"]
    assert (refused["unlogged"], refused["losses"], refused["exit"]) == (0, [], 0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("policy", ["fail_open", "fail_closed"])
def test_it_recovers_without_a_restart(policy: str, told: dict[str, dict[str, Any]]) -> None:
    """With room again all is logged with its bodies, by the same processes."""
    story = told[policy]
    assert story["still_the_same"], story["log"]
    assert story["control_while_full"] == 200
    assert story["refused_after"] == {}
    bodies = {identity: has_payload for identity, _, has_payload in story["rows"]}
    assert [bodies.get(identity) for identity in story["after"]] == [True] * len(story["after"])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("policy", ["fail_open", "fail_closed"])
def test_it_says_so(policy: str, told: dict[str, dict[str, Any]]) -> None:
    """Nothing is silent: the log tells when records begin to suffer and when they are well."""
    assert "the spool's disk is full or failing" in told[policy]["log"]
    assert "the spool has room" in told[policy]["log"]
