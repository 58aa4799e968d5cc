import asyncio
import ssl
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from support.alert_kit import webhook
from support.fake_upstream import FakeUpstream
from support.webhook_receiver import Receiver, receiving

from gateway.alert_sender import AlertSender
from router.clock import SystemClock

NAME = "hooks.example.com"
Resolve = Callable[[str, int | None], Coroutine[None, None, list[str]]]


def leads_to(*addresses: str) -> Resolve:
    """Return a resolver that knows every name."""

    async def resolve(host: str, port: int | None) -> list[str]:
        return list(addresses)

    return resolve


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver on this machine."""
    with receiving() as found:
        yield found


def test_we_connect_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The name is looked up once, so a second answer cannot lead elsewhere."""
    asked = []

    async def resolve(host: str, port: int | None) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    sender = AlertSender(SystemClock(), resolve=resolve)
    channel = webhook(f"http://{NAME}:{receiver.port}/hook")
    assert asyncio.run(sender.send(channel, "id", b"{}")).delivered
    assert asked == [(NAME, receiver.port)]
    assert receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


def test_a_public_name_that_leads_inside_is_refused(receiver: Receiver) -> None:
    """What a name looks like does not matter, where it leads does."""
    sender = AlertSender(SystemClock(), resolve=leads_to("127.0.0.1"))
    channel = webhook(f"http://{NAME}:{receiver.port}/hook", allow_private=False)
    result = asyncio.run(sender.send(channel, "id", b"{}"))
    assert "127.0.0.1, which is not public" in (result.error or "")
    assert receiver.received == []


def test_the_next_address_is_tried(receiver: Receiver) -> None:
    """A name with an address where nobody listens still gets its notification, once."""
    sender = AlertSender(SystemClock(), resolve=leads_to("::1", "127.0.0.1"))
    channel = webhook(f"http://{NAME}:{receiver.port}/hook")
    assert asyncio.run(sender.send(channel, "id", b"{}")).delivered
    assert len(receiver.received) == 1


def test_proxies_of_the_environment_are_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look the name up again, past the check."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert asyncio.run(AlertSender(SystemClock()).send(webhook(receiver.url), "i", b"{}")).delivered


@pytest.mark.parametrize("secret_file", ["/nowhere/secret", "."])
def test_a_missing_secret_is_told(receiver: Receiver, secret_file: str) -> None:
    """Nothing is sent unsigned."""
    channel = webhook(receiver.url, secret=None, secret_file=secret_file)
    result = asyncio.run(AlertSender(SystemClock()).send(channel, "id", b"{}"))
    assert secret_file in (result.error or "")
    assert receiver.received == []


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give a server's context for the name, and a client's that trusts it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=fake"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize(("name", "reached"), [(NAME, True), ("other.example.com", False)])
def test_certificates_are_checked_by_name(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    name: str,
    reached: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Though we connect to an address, the certificate must be the name's."""
    server, client = tls
    with FakeUpstream(tls=server) as fake:
        port = int(fake.url.rsplit(":", 1)[1].split("/")[0])
        sender = AlertSender(SystemClock(), resolve=leads_to("127.0.0.1"), tls=client)
        result = asyncio.run(sender.send(webhook(f"https://{name}:{port}/hook"), "id", b"{}"))
        assert len(fake.requests) == (1 if reached else 0)
        assert (result.status is not None) is reached
        assert reached or "CERTIFICATE_VERIFY_FAILED" in (result.error or "")
