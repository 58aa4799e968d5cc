"""Names of channels: what a notification remembers of where it goes."""

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from monitors.config import ChannelConfig

_DIGEST_CHARS = 8


def channel_name(channel: ChannelConfig) -> str:
    """Return `webhook:HOST:DIGEST`: the same over restarts and new secrets, another by URL.

    The path is only digested: of many receivers it is the secret.
    """
    if channel.webhook is not None:
        kind, url = "webhook", channel.webhook.url
    else:
        assert channel.alertmanager is not None
        kind, url = "alertmanager", channel.alertmanager.url
    digest = hashlib.sha256(url.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{kind}:{urlsplit(url).hostname}:{digest}"


def by_name(channels: Sequence[ChannelConfig]) -> dict[str, ChannelConfig]:
    """Index channels; the same URL twice is one."""
    return {channel_name(channel): channel for channel in channels}
