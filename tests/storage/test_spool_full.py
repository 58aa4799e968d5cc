import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from storage.frames import FrameKind, decode_end
from storage.records import End
from storage.segments import list_segments, read_frames
from storage.spool import SpoolStatistics

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("spool_programs.py")
FIELDS = set(SpoolStatistics._fields)


class Scenario:
    def __init__(self, told: dict[str, Any], directory: Path) -> None:
        self.told = told
        self.ends: list[End] = []
        self.skipped_bytes = 0
        for segment in list_segments(directory):
            read = read_frames(segment.path, 0, 1 << 30)
            self.skipped_bytes += read.skipped_bytes + read.unread_bytes
            self.ends += [
                decode_end(frame.payload) for frame in read.frames if frame.kind == FrameKind.END
            ]


def run_on_small_disk(tmp_path: Path, program: str, policy: str, size: str) -> Scenario:
    """Run a program on a tmpfs that vanishes with it; keep a copy of its segments."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    script = (
        'mount -t tmpfs -o size="$6" none "$1" && "$2" "$3" "$7" "$1" "$4" && cp -r "$1/spool" "$5"'
    )
    arguments = [str(disk), sys.executable, str(PROGRAM), policy, str(copy), size, program]
    done = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return Scenario(json.loads(done.stdout), copy)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Give what `fail_open` made of a full disk."""
    return run_on_small_disk(tmp_path_factory.mktemp("open"), "fill", "fail_open", "8m")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Give what `fail_closed` made of a full disk."""
    return run_on_small_disk(tmp_path_factory.mktemp("closed"), "fill", "fail_closed", "8m")


@pytest.mark.parametrize("policy", ["served", "refused"])
def test_the_log_holds_exactly_what_was_acknowledged(
    policy: str, request: pytest.FixtureRequest
) -> None:
    """Short writes leave no piece behind: each record once, in order, no byte skipped."""
    scenario: Scenario = request.getfixturevalue(policy)
    assert [end.prediction.id for end in scenario.ends] == scenario.told["logged"]
    assert scenario.skipped_bytes == 0
    assert scenario.told["full"]["unlogged"] == 1


def test_bodies_are_given_up_before_facts(served: Scenario) -> None:
    """From the first full write to the last fact, records have no bodies, and are counted."""
    bare = [index for index, end in enumerate(served.ends) if end.payload is None]
    assert len(bare) == served.told["full"]["payloads_dropped"] - 1  # One was lost altogether.
    assert bare == list(range(bare[0], bare[0] + len(bare)))


def test_the_reserve_is_spent_on_facts(served: Scenario) -> None:
    """After the disk is full, a MiB of records without bodies still fits."""
    assert served.told["full"]["reserve_bytes"] == 0
    bare = [end for end in served.ends if end.payload is None]
    assert sum(len(msgspec.msgpack.encode(end)) for end in bare) > 1 << 19


def test_it_recovers_without_a_restart_when_space_returns(served: Scenario) -> None:
    """Bodies are written again and the reserve is held again."""
    assert [end.payload is not None for end in served.ends[-2:]] == [True, True]
    assert served.told["after"]["full"] is False
    assert served.told["after"]["unlogged"] == 1


def test_fail_open_never_refuses_requests(served: Scenario) -> None:
    """The data plane is told to go on."""
    assert served.told["unavailable_at"] is None


def test_fail_closed_refuses_before_a_record_is_lost(refused: Scenario) -> None:
    """New requests are refused at the first full write, while those under way keep their facts."""
    assert refused.told["unavailable_at"] < refused.told["refused_at"]
    assert refused.ends[refused.told["unavailable_at"] - 1].payload is None


def test_fail_closed_is_available_again_when_space_returns(refused: Scenario) -> None:
    """It asks the disk once a second, not at each request."""
    assert refused.told["before_retry"] is False
    assert refused.told["after_retry"] is True


@pytest.fixture(scope="module", params=["fail_open", "fail_closed"])
def spent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Give what a policy made of a quota of one MiB on a disk of four."""
    home = tmp_path_factory.mktemp("quota")
    scenario = run_on_small_disk(home, "quota", request.param, "4m")
    scenario.told["policy"] = request.param
    return scenario


def test_beyond_the_quota_the_policy_holds(spent: Scenario) -> None:
    """Without a record and counted, or refused with the facts of those under way kept."""
    told = spent.told
    is_closed = told["policy"] == "fail_closed"
    assert told["after_spent"] == [is_closed] * 3
    # The request that met the end is the first of the unlogged; `fail_closed` asked before it.
    assert told["unlogged"] == (0 if is_closed else 4)
    assert 1.0 <= told["spent"]["quota_share"] < 1.1
    assert [end.prediction.id for end in spent.ends] == told["logged"]
    assert spent.skipped_bytes == 0


def test_a_quota_recovers_when_the_ingest_has_caught_up(spent: Scenario) -> None:
    """Bodies are written again, without a restart."""
    assert spent.told["after_read"] == [True] * 3
    assert spent.told["read"]["unread_bytes"] == 0
    assert [end.payload is not None for end in spent.ends[-3:]] == [True] * 3
    assert sum(end.payload is None for end in spent.ends) > 0


def test_a_small_disk_is_not_filled_by_space_taken_ahead(spent: Scenario) -> None:
    """A sixteenth of what is free at most, and all of it given back at the end."""
    assert 0 < spent.told["most_spare"] <= spent.told["free"] // 16
    assert spent.told["allocated_beyond"] < 16 * 4096
