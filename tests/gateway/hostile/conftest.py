"""One worker and one upstream for all rows of a file: what a row leaves behind, the next meets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.kit import CONFIG, HostileWorker
from support.hostile.sound import sound
from support.worker import RunningWorker


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """Run an upstream that answers everything."""
    with FakeUpstream(sound) as running:
        yield running


@pytest.fixture(scope="module")
def worker(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream
) -> Iterator[RunningWorker]:
    """Run a worker in front of it."""
    folder: Path = tmp_path_factory.mktemp("worker")
    with HostileWorker(folder, CONFIG.format(url=upstream.url)) as running:
        yield running
