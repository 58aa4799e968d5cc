from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.banner import banner
from gateway.config import Settings
from gateway.settings import parse_settings

KEY = {"name": "k", "sha256": "0" * 64}


@dataclass(frozen=True)
class Options:
    """What is shown of the command line's options."""

    source: object = "driftgate.yaml"
    data_dir: Path = Path("/data")


def settings(**gateway: Any) -> Settings:
    """Return a configuration."""
    data = {
        "gateway": gateway,
        "upstreams": {
            "a": {"url": "http://a/v1", "api_key": "sk-secret"},
            "b": {"url": "http://b"},
        },
        "routes": {"chat": {"split": {"a": 0.95, "b": 0.05}}},
    }
    return parse_settings(data, source="test")


def shown(
    data: tuple[Any, ...], control: tuple[Any, ...] = ("127.0.0.1", 81), **gateway: Any
) -> str:
    """Return the banner."""
    return banner(settings(**gateway), Options(), data, control)


def test_addresses_are_those_of_the_sockets() -> None:
    """Port 0 was asked for; the banner names the one it got."""
    text = shown(("127.0.0.1", 8123))
    assert "http://127.0.0.1:8123/v1" in text
    assert "http://127.0.0.1:81/metrics" in text
    assert "chat → a 95% + b 5%" in text


def test_ipv6_addresses_are_bracketed() -> None:
    """An IPv6 address can be copied into a client."""
    assert "http://[::1]:80/v1" in shown(("::1", 80, 0, 0))


@pytest.mark.parametrize(
    ("host", "keys", "words"),
    [
        ("127.0.0.1", [], ("this machine only", "open")),
        ("0.0.0.0", [], ("REACHABLE FROM ELSEWHERE", "open")),
        ("0.0.0.0", [KEY], ("REACHABLE FROM ELSEWHERE", "asks for")),
    ],
    ids=["loopback", "open", "keys"],
)
def test_posture_is_said(host: str, keys: list[Any], words: tuple[str, ...]) -> None:
    """Who can reach the data plane, and whether they need a key, stands in one line."""
    text = shown((host, 80), keys=keys)
    line = next(line for line in text.splitlines() if "data plane:" in line)
    assert all(word in line for word in words)


def test_no_secret_is_shown() -> None:
    """Keys of upstreams and digests of clients' keys stay out of the banner."""
    text = shown(("127.0.0.1", 80), keys=[KEY], admin_key="sk-admin")
    assert "sk-" not in text
    assert "0" * 64 not in text
