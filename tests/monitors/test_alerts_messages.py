import base64
import json
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from monitors.alerts.address import allowed, is_public
from monitors.alerts.alertmanager import event_body, expiring
from monitors.alerts.channels import by_name, channel_name, wants
from monitors.alerts.config import ALERT_KINDS, ChannelConfig
from monitors.alerts.messages import message_of
from monitors.alerts.payload import MAX_BYTES, webhook_body
from monitors.alerts.signing import parse_secrets, signature
from monitors.alerts.slack import slack_body
from monitors.errors import AddressRefused, SecretInvalid
from storage.records import Alert

NOW = 1_790_000_000_000_000
ALERT = Alert(
    "a1", "drift", "chat", "drift", "open", "warning", NOW, NOW, None, "it drifted", {"n": 1}
)


def test_the_example_of_the_specification_is_signed_alike() -> None:
    """Secret, id, time and body of the Standard Webhooks libraries' own test."""
    keys = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    found = signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "ü"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    """The message says how to make one, and does not repeat it."""
    with pytest.raises(SecretInvalid, match="openssl rand") as refused:
        parse_secrets(secret)
    assert not secret or secret == "whsec_" or secret not in str(refused.value)


def test_a_secret_needs_neither_prefix_nor_padding() -> None:
    """As `openssl rand -base64 32` prints it, and as some tools cut it."""
    key = bytes(range(32))
    text = base64.b64encode(key).decode()
    assert parse_secrets(f"{text},whsec_{text.rstrip('=')}") == (key, key)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1%eth0",
        "fc00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::1",
        "198.18.0.1", "192.0.0.1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1", "fd00:ec2::254",
        "::127.0.0.1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_of_networks_within_are_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, multicast, and IPv6 that leads to such an IPv4."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_other_addresses_are_public(address: str) -> None:
    """Where receivers on the internet are."""
    assert is_public(address)


def test_of_a_mixed_answer_only_public_addresses_are_used() -> None:
    """A name that leads inside and outside is followed outside only."""
    assert allowed("h", ["10.0.0.1", "8.8.8.8", "8.8.8.8"], allow_private=False) == ["8.8.8.8"]
    assert allowed("h", ["10.0.0.1"], allow_private=True) == ["10.0.0.1"]
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1.*allow_private"):
        allowed("h", ["10.0.0.1"], allow_private=False)


@pytest.mark.parametrize("url", ["ftp://h/x", "h:80", "http://", "http://h:port/", "file:///x"])
def test_a_url_that_is_no_receiver_is_refused(url: str) -> None:
    """At the reading of the configuration, not at the first alert."""
    with pytest.raises(ValidationError, match="must be `http://HOST"):
        ChannelConfig.model_validate({"alertmanager": {"url": url}})


def test_a_channel_hears_of_the_kinds_it_names() -> None:
    """Patterns as in a shell; one that fits no kind is refused."""
    url = {"slack": {"url": "https://h/"}}
    channel = ChannelConfig.model_validate({**url, "kinds": ["slo", "q*"]})
    told = [k for k in ALERT_KINDS if wants(channel, msgspec.structs.replace(ALERT, kind=k))]
    assert told == ["quality", "slo"]
    with pytest.raises(ValidationError, match="`dirft` is none of drift"):
        ChannelConfig.model_validate({**url, "kinds": ["dirft"]})


def test_a_bad_secret_is_refused_with_the_configuration() -> None:
    """Not at the first alert."""
    with pytest.raises(ValidationError, match="openssl rand"):
        ChannelConfig.model_validate({"webhook": {"url": "https://h/", "secret": "hunter2"}})


def test_channels_have_names_that_tell_no_secrets() -> None:
    """The host stands in it, the path does not; another secret is the same channel."""
    secrets = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    url = "https://hooks.example.com/T000/token"
    a, b = (ChannelConfig.model_validate({"webhook": {"url": url, "secret": s}}) for s in secrets)
    assert channel_name(a) == channel_name(b)
    assert channel_name(a).startswith("webhook:hooks.example.com:")
    assert "token" not in channel_name(a)
    assert len(by_name([a, b])) == 1


def read(body: bytes) -> Any:
    """Return a body as a receiver reads it."""
    return json.loads(body)


def test_a_body_has_the_documented_shape() -> None:
    """Type, time and versioned data that name the episode."""
    assert read(webhook_body("drift.opened", ALERT, NOW)) == {
        "type": "drift.opened",
        "timestamp": "2026-09-21T14:13:20Z",
        "data": {
            "n": 1,
            "version": 1,
            "alert_id": "a1",
            "route": "chat",
            "state": "open",
            "severity": "warning",
            "summary": "it drifted",
            "opened_at": "2026-09-21T14:13:20Z",
            "resolved_at": None,
        },
    }


def with_features(features: int, contributions: int, text: str) -> Alert:
    """Return an alert with a digest of a size."""
    cells = [{"cell": text, "share": 0.1}] * contributions
    digest = [{"feature": text, "value": 0.5, "contributions": cells}] * features
    return msgspec.structs.replace(ALERT, data={"features": digest})


def test_long_lists_are_cut_first() -> None:
    """The largest contributions and every feature stay, and the body says that it was cut."""
    body = webhook_body("drift.opened", with_features(5, 1000, "cell"), NOW)
    data = read(body)["data"]
    assert len(body) < MAX_BYTES
    assert data["truncated"] is True
    assert [len(f["contributions"]) for f in data["features"]] == [10] * 5


@pytest.mark.parametrize(
    "alert",
    [
        with_features(5, 1, "x" * 50_000),
        with_features(500, 1, "x"),
        msgspec.structs.replace(ALERT, summary="ü" * 100_000),
        msgspec.structs.replace(ALERT, data={f"key{n}": "x" * 200 for n in range(500)}),
    ],
)
def test_whatever_the_content_a_body_fits(alert: Alert) -> None:
    """Long texts, many features and unknown keys give way to what names the episode."""
    body = webhook_body("drift.opened", alert, NOW)
    assert len(body) < MAX_BYTES
    assert read(body)["data"]["alert_id"] == "a1"


def test_alertmanager_gets_an_end_for_what_fires() -> None:
    """Six minutes from the sending; what has ended keeps its own end."""
    ended = msgspec.structs.replace(ALERT, state="resolved", resolved_at=NOW)
    later = NOW + 3_600_000_000
    (fires,) = read(expiring(event_body(ALERT, None), later))
    (over,) = read(expiring(event_body(ended, ALERT), later))
    assert fires["endsAt"] == "2026-09-21T15:19:20Z"
    assert over["endsAt"] == "2026-09-21T14:13:20Z"


def test_a_worse_alert_ends_the_lesser_one() -> None:
    """There severity is part of the name, so both are told in one post."""
    worse = msgspec.structs.replace(ALERT, severity="critical")
    lesser, now = read(event_body(worse, ALERT))
    assert (lesser["labels"]["severity"], "endsAt" in lesser) == ("warning", True)
    assert (now["labels"]["severity"], "endsAt" in now) == ("critical", False)


def test_words_tell_what_moved_by_how_much_and_since_when() -> None:
    """A line a fact and a feature, after the summary."""
    feature = {
        "feature": "latency_s", "segment": "variant=b", "statistic": "psi", "value": 0.312345,
        "low": 0.2, "high": 0.4, "n_current": 400, "onset_at": "2026-09-21T14:00:00Z",
        "cause": "moved up",
    }  # fmt: skip
    data = {"features": [feature], "changed": ["version 2 began"]}
    critical = msgspec.structs.replace(ALERT, severity="critical", data=data)
    found = message_of(read(webhook_body("drift.escalated", critical, NOW)), "m1")
    assert found.title == "[critical] drift escalated on route chat"
    assert found.lines == (
        "it drifted",
        "at the same time: version 2 began",
        "latency_s (variant=b) psi 0.312 [0.2, 0.4], n = 400, since 2026-09-21T14:00:00Z: moved up",
    )
    assert (found.tone, found.note) == ("failure", "2026-09-21T14:13:20Z, alert a1, message m1")


@pytest.mark.parametrize("summary", ["x" * 10_000, "<" * 10_000, "&\n" * 5_000, "漂移" * 5_000])
def test_a_message_for_slack_keeps_its_limits(summary: str) -> None:
    """Whatever the summary, a header has 150 characters at most, a section 3,000."""
    feature = {"feature": "<" * 10_000, "value": 1.0}
    long = msgspec.structs.replace(
        ALERT, route="r" * 300, summary=summary, data={"features": [feature] * 9}
    )
    header, section, _ = read(slack_body(read(webhook_body("drift.opened", long, NOW)), "m1"))[
        "blocks"
    ]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3_000
    assert "<" not in section["text"]["text"]
