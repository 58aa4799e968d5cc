"""Names of channels, and what they are told: what a notification remembers of where it goes."""

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from monitors.alerts.config import ChannelConfig
from storage.records import Alert

_DIGEST_CHARS = 8


def channel_name(channel: ChannelConfig) -> str:
    """Return `webhook:HOST:DIGEST`: the same over restarts and new secrets, another by URL.

    The path is only digested: of many receivers it is the secret. Of PagerDuty the routing key
    is digested, and what stands in a file goes by the file's path.
    """
    place, identity = _place(channel)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{channel.kind}:{place}:{digest}"


def _place(channel: ChannelConfig) -> tuple[str, str]:
    """Return what may be shown of a channel, and what tells it from others."""
    if channel.slack is not None or channel.apprise is not None:
        config = channel.slack or channel.apprise
        assert config is not None
        if config.url is None:
            return "file", str(config.url_file)
        url = config.url.get_secret_value()
        # The host of an Apprise URL is often a token.
        shown = urlsplit(url).hostname if channel.slack is not None else url.partition(":")[0]
        return str(shown), url
    if channel.pagerduty is not None:
        key = channel.pagerduty.routing_key
        identity = key.get_secret_value() if key else str(channel.pagerduty.routing_key_file)
        return str(urlsplit(channel.pagerduty.url).hostname), identity
    config_of_url = channel.webhook or channel.alertmanager
    assert config_of_url is not None
    return str(urlsplit(config_of_url.url).hostname), config_of_url.url


def entry_digest(channel: ChannelConfig) -> str:
    """Return what changes with anything that was written of a channel, its secrets too."""
    written = msgspec.json.encode(channel.model_dump(exclude_unset=True), enc_hook=_revealed)
    return hashlib.sha256(written).hexdigest()[:_DIGEST_CHARS]


def _revealed(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def by_name(channels: Sequence[ChannelConfig]) -> dict[str, ChannelConfig]:
    """Index channels; the same URL twice is one."""
    return {channel_name(channel): channel for channel in channels}


def wants(channel: ChannelConfig, alert: Alert) -> bool:
    """Say whether a channel is told of an alert: by its severity and its kind."""
    if channel.min_severity == "critical" and alert.severity != "critical":
        return False
    return not channel.kinds or any(fnmatchcase(alert.kind, kind) for kind in channel.kinds)
