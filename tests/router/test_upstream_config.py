"""What the configuration of an upstream's connection refuses, and in which words."""

import subprocess
import sys
from pathlib import Path

import pytest

from router.config import UpstreamConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"url": "http://h", "proxy": "ftp://p"}, "must start with `http://`, `https://`"),
        ({"url": "http://h", "proxy": "http://"}, "must be a host and a port alone"),
        ({"url": "http://h", "proxy": "http://p/path"}, "must be a host and a port alone"),
        ({"url": "http://h", "proxy": "http://p?q=1"}, "must be a host and a port alone"),
        ({"url": "http://h", "proxy": "http://p:99999"}, "must name a host and a port"),
        ({"url": "unix:///run/x", "proxy": "http://p"}, "`proxy` and `http2` are for an"),
        ({"engine": "llama.cpp", "proxy": "http://p"}, "`proxy` and `http2` are for an"),
        ({"url": "https://h", "client_key": __file__}, "`client_key` is given without"),
        ({"url": "https://h", "client_cert": "/none.pem"}, "must be readable PEM files"),
        ({"url": "https://h", "client_cert": __file__}, "must be readable PEM files"),
        ({"url": "http://h", "server_name": "x"}, "are for an `https://` `url`"),
        ({"url": "https://h", "server_name": ""}, "at least 1 character"),
        ({"url": "http://h", "max_concurrency": 0}, "greater than or equal to 1"),
        ({"url": "http://h", "protocol": "grpc"}, "'openai' or 'anthropic'"),
    ],
)
def test_unusable_connection_is_refused(config: dict[str, object], message: str) -> None:
    """Each option that no connection could be made with says what it needs."""
    with pytest.raises(ValueError, match=message):
        UpstreamConfig.model_validate({"name": "u", **config})


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("h2", {"url": "https://h", "http2": True}),
        ("socksio", {"url": "http://h", "proxy": "socks5://p:1080"}),
    ],
)
def test_a_missing_package_is_named(package: str, config: dict[str, object]) -> None:
    """HTTP/2 and SOCKS need a package more; without it the message says what to install."""
    assert UpstreamConfig.model_validate(config).name == ""
    program = f"""
import sys
sys.modules[{package!r}] = None
from router.config import UpstreamConfig
UpstreamConfig.model_validate({config!r})
"""
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert f"needs the package `{package}`: install `driftgate[http2]`" in found.stderr


def test_a_proxys_credentials_are_not_shown() -> None:
    """Neither the configuration's text nor an error tells what stands before the proxy's host."""
    config = UpstreamConfig(url="http://h", proxy="http://me:hunter2@p:3128")
    assert "hunter2" not in repr(config) + config.model_dump_json()
    assert config.proxy is not None
    assert config.proxy.get_secret_value() == "http://me:hunter2@p:3128"


def test_an_encrypted_key_is_refused_without_a_prompt(tmp_path: Path) -> None:
    """A key with a password would make OpenSSL ask the terminal: it is refused instead."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:x", "-days", "2"]
    command += ["-subj", "/CN=u", "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c")]
    subprocess.run(command, check=True, capture_output=True)
    files = {"client_cert": str(tmp_path / "c"), "client_key": str(tmp_path / "k")}
    with pytest.raises(ValueError, match="the key is encrypted"):
        UpstreamConfig.model_validate({"url": "https://h", **files})
