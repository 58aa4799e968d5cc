"""Which client an upstream gets."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from gateway.upstreams import UpstreamSet
from router.clock import SystemClock
from router.httpx_upstream import HttpxUpstream
from router.transport import HttpUpstream


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, HttpUpstream),
        ({"server_name": "h"}, HttpUpstream),
        ({"proxy": "http://127.0.0.1:3128"}, HttpxUpstream),
        ({"http2": True}, HttpxUpstream),
    ],
)
def test_the_configuration_picks_the_client(
    tmp_path: Path, options: dict[str, Any], kind: type
) -> None:
    """Only a proxy and HTTP/2 cost the slower client; a reload puts one in place of the other."""
    upstreams = {"a": {"name": "a", "url": "https://h", **options}}
    routes = {"*": {"name": "*", "split": {"a": 1.0}}}
    settings = Settings.model_validate({"upstreams": upstreams, "routes": routes})
    plain = settings.model_copy(
        update={"upstreams": {"a": settings.upstreams["a"].model_copy(update=_PLAIN)}}
    )
    clients = UpstreamSet(tmp_path / "engine.sock", SystemClock())

    async def scenario() -> None:
        clients.dispatchers(plain)
        assert isinstance(clients._open["a"][1], HttpUpstream)
        clients.dispatchers(settings)
        clients.retire_unused(settings)
        assert all(isinstance(client, kind) for client in clients._open["a"][1:])
        assert clients.pools() == {"a": (0, 0)}
        await clients.aclose()

    # Loading httpx2 reads files, once in a process: not on a loop that is watched for that.
    HttpxUpstream(settings.upstreams["a"])
    asyncio.run(scenario())


_PLAIN = {"proxy": None, "http2": False}
