"""TLS, Unix sockets and IPv6."""

import json
import ssl
import subprocess
from pathlib import Path

import pytest
from support.fake_upstream import FakeUpstream
from support.transport_kit import LOOPS, Run, chat, client, fault_of, fetch, run_on

from router.clock import SystemClock
from router.config import UpstreamConfig
from router.errors import Reason
from router.transport import HttpUpstream

run = pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"], name="run")(run_on)


def _certificate(folder: Path, names: str) -> tuple[Path, ssl.SSLContext]:
    """Make a self-signed certificate for names; return its file and a server's context."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=fake", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.fixture(scope="module")
def local_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Give a certificate for this machine."""
    return _certificate(tmp_path_factory.mktemp("local"), "IP:127.0.0.1,DNS:localhost")


@pytest.fixture(scope="module")
def foreign_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Give a certificate for another name."""
    return _certificate(tmp_path_factory.mktemp("foreign"), "DNS:elsewhere.example")


def test_https_with_trust_from_ca_file(run: Run, local_tls: tuple[Path, ssl.SSLContext]) -> None:
    """A certificate that `ca_file` vouches for is trusted, and the connection is reused."""
    certificate, context = local_tls

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, ca_file=str(certificate)) as upstream:
            for stream in (False, True):
                assert await fetch(upstream, chat(stream=stream))
            large = chat(prompt="x" * 3_000_000)
            await fetch(upstream, large)
        assert fake.requests[2].body == large.body
        assert fake.connections == 1

    with FakeUpstream(tls=context) as fake:
        run(scenario(fake))


def test_server_name_is_sent(run: Run, local_tls: tuple[Path, ssl.SSLContext]) -> None:
    """The TLS handshake names the host of the URL."""
    certificate, context = local_tls
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    async def scenario(fake: FakeUpstream) -> None:
        url = f"https://localhost:{fake.port}/v1"
        async with client(url, ca_file=str(certificate)) as upstream:
            await fetch(upstream, chat())

    with FakeUpstream(tls=context) as fake:
        run(scenario(fake))
    context.sni_callback = None
    assert names == ["localhost"]


def test_unknown_certificate_is_refused(run: Run, local_tls: tuple[Path, ssl.SSLContext]) -> None:
    """A certificate nobody vouches for is UPSTREAM_UNREACHABLE before a byte is sent."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)
            assert "CERTIFICATE_VERIFY_FAILED" in str(fault)
            assert upstream.statistics() == (0, 0, 0)
        assert fake.requests == []

    with FakeUpstream(tls=local_tls[1]) as fake:
        run(scenario(fake))


def test_certificate_for_another_name_is_refused(
    run: Run, foreign_tls: tuple[Path, ssl.SSLContext]
) -> None:
    """A trusted certificate of another host is UPSTREAM_UNREACHABLE."""
    certificate, context = foreign_tls

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, ca_file=str(certificate)) as upstream:
            fault = await fault_of(upstream, chat())
            assert (fault.reason, fault.sent) == (Reason.UPSTREAM_UNREACHABLE, False)

    with FakeUpstream(tls=context) as fake:
        run(scenario(fake))


def test_verification_can_be_switched_off(
    run: Run, foreign_tls: tuple[Path, ssl.SSLContext]
) -> None:
    """`verify_tls: false` takes any certificate."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url, verify_tls=False) as upstream:
            assert await fetch(upstream, chat())

    with FakeUpstream(tls=foreign_tls[1]) as fake:
        run(scenario(fake))


def test_tls_to_a_plain_port_is_of_the_connect_phase(run: Run) -> None:
    """Https to a port that speaks no TLS is UPSTREAM_UNREACHABLE, unsent."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url.replace("http:", "https:")) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)

    with FakeUpstream() as fake:
        run(scenario(fake))


def test_unreadable_ca_file_names_the_key(tmp_path: Path) -> None:
    """A missing or foreign `ca_file` is refused at once with key path and value."""
    foreign = tmp_path / "not.pem"
    foreign.write_text("no certificate")
    for path in (foreign, tmp_path / "missing.pem"):
        with pytest.raises(ValueError, match="must name a readable PEM file"):
            UpstreamConfig(name="u", url="https://h", ca_file=str(path))
        # It was there when the configuration was checked, and has gone since.
        config = UpstreamConfig(name="u", url="https://h")
        config = config.model_copy(update={"ca_file": str(path)})
        with pytest.raises(ValueError, match=rf"`upstreams\.u\.ca_file` is `{path}`"):
            HttpUpstream(config, clock=SystemClock())


def test_another_server_name_is_sent_and_verified(
    run: Run, foreign_tls: tuple[Path, ssl.SSLContext]
) -> None:
    """`server_name` takes the place of the URL's host, in the handshake and in the check."""
    certificate, context = foreign_tls
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    async def scenario(fake: FakeUpstream) -> None:
        name = "elsewhere.example"
        async with client(fake.url, ca_file=str(certificate), server_name=name) as upstream:
            assert await fetch(upstream, chat())
        assert fake.requests[0].header("host") == f"127.0.0.1:{fake.port}"

    with FakeUpstream(tls=context) as fake:
        run(scenario(fake))
    context.sni_callback = None
    assert names == ["elsewhere.example"]


@pytest.mark.parametrize("key_file", ["key.pem", None])
def test_a_client_certificate_is_shown(run: Run, tmp_path: Path, key_file: str | None) -> None:
    """An upstream that asks for a certificate gets it, from two files or from one."""
    certificate, context = _certificate(tmp_path, "IP:127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    own, key = str(certificate), None if key_file is None else str(tmp_path / key_file)
    if key is None:
        both = tmp_path / "both.pem"
        both.write_text(certificate.read_text() + (tmp_path / "key.pem").read_text())
        own = str(both)

    async def scenario(fake: FakeUpstream) -> None:
        trust = str(certificate)
        async with client(fake.url, ca_file=trust, client_cert=own, client_key=key) as upstream:
            assert await fetch(upstream, chat())
        async with client(fake.url, ca_file=trust) as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE

    with FakeUpstream(tls=context) as fake:
        run(scenario(fake))


def test_client_certificate_that_has_gone_names_the_key(tmp_path: Path) -> None:
    """A `client_cert` that vanished after the configuration was checked is refused by name."""
    config = UpstreamConfig(name="u", url="https://h")
    config = config.model_copy(update={"client_cert": str(tmp_path / "gone.pem")})
    with pytest.raises(ValueError, match=r"`upstreams\.u\.client_cert` is `.*gone\.pem`"):
        HttpUpstream(config, clock=SystemClock())


def test_unix_socket_from_url_or_parameter(run: Run, tmp_path: Path) -> None:
    """A Unix socket is reached by its URL, or for an engine by its path; base path is /v1."""
    path = str(tmp_path / "u.sock")

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            assert json.loads(await fetch(upstream, chat()))
        engine = HttpUpstream(
            UpstreamConfig(name="local", engine="llama.cpp"),
            clock=SystemClock(),
            socket_path=path,
        )
        assert json.loads(await fetch(engine, chat()))
        await engine.aclose()
        async with client(fake.url, base_path="/api/v3/") as upstream:
            await fetch(upstream, chat())
        targets = [seen.target for seen in fake.requests]
        assert targets == ["/v1/chat/completions"] * 2 + ["/api/v3/chat/completions"]
        assert fake.requests[0].header("host") == "localhost"

    with FakeUpstream(path=path) as fake:
        run(scenario(fake))


def test_missing_unix_socket_is_of_the_connect_phase(run: Run, tmp_path: Path) -> None:
    """A socket that is not there, an engine still starting, is UPSTREAM_UNREACHABLE, unsent."""

    async def scenario() -> None:
        async with client(f"unix://{tmp_path}/none.sock") as upstream:
            fault = await fault_of(upstream, chat())
            assert fault.reason is Reason.UPSTREAM_UNREACHABLE
            assert (fault.sent, fault.connect_phase) == (False, True)

    run(scenario())


def test_ipv6_address(run: Run) -> None:
    """An IPv6 address is reached, and written in brackets in Host."""

    async def scenario(fake: FakeUpstream) -> None:
        async with client(fake.url) as upstream:
            await fetch(upstream, chat())
        assert fake.requests[0].header("host") == f"[::1]:{fake.port}"

    with FakeUpstream(host="::1") as fake:
        run(scenario(fake))
