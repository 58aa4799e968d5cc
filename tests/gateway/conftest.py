"""Two upstreams that misbehave on cue, for whoever asks for `a` or `b`."""

from collections.abc import Iterator

import pytest
from support.fake_upstream import FakeUpstream


@pytest.fixture
def a() -> Iterator[FakeUpstream]:
    """Run the first upstream."""
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def b() -> Iterator[FakeUpstream]:
    """Run the second upstream."""
    with FakeUpstream() as upstream:
        yield upstream
