"""Credentials of every shape against a worker that asks for a key."""

import hashlib
from collections.abc import Iterator

import pytest
from support.fake_upstream import FakeUpstream
from support.hostile.keys import ACCEPTED, KEY, REFUSED
from support.hostile.kit import CONFIG, HostileWorker, Row, check
from support.worker import RunningWorker

KEYS = "gateway: {{{{keys: [{{{{name: me, sha256: {digest}}}}}], limits"


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream
) -> Iterator[RunningWorker]:
    """Run a worker that knows one key."""
    keys = KEYS.format(digest=hashlib.sha256(KEY).hexdigest())
    config = CONFIG.replace("gateway: {{limits", keys).format(url=upstream.url)
    with HostileWorker(tmp_path_factory.mktemp("guarded"), config) as running:
        yield running


@pytest.mark.parametrize("rows", [REFUSED, ACCEPTED], ids=["refused", "accepted"])
def test_only_the_right_key_opens(
    rows: list[Row],
    guarded: RunningWorker,
    upstream: FakeUpstream,
    subtests: pytest.Subtests,
) -> None:
    """Everything else is 401 in the error shape, and no key of ours goes to an upstream."""
    for row in rows:
        with subtests.test(row.name):
            check(row, guarded, upstream)
            for seen in upstream.requests:
                assert KEY.decode() not in repr(seen.headers) + seen.target
                assert seen.header("authorization") == "Bearer sk-of-the-upstream"
