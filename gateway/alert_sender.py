"""One notification over HTTP: a checked address, a signature, a bound, no redirects."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

import httpx2
import msgspec

from gateway.apprise_sender import send_by_apprise
from gateway.retry_after import retry_after_s
from gateway.version import VERSION
from monitors.alerts.address import allowed, check_url
from monitors.alerts.alertmanager import alerts_url, expiring
from monitors.alerts.config import ChannelConfig, WebhookConfig, read_secret
from monitors.alerts.outbox import Result
from monitors.alerts.pagerduty import pagerduty_body
from monitors.alerts.signing import parse_secrets, signed_headers
from monitors.alerts.slack import slack_body
from router.clock import Clock

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
_ADDRESSES_TRIED = 3
_SHOWN_BYTES = 200
_HEADERS = {"content-type": "application/json", "user-agent": f"driftgate/{VERSION}"}


class _Post(NamedTuple):
    url: str
    allow_private: bool
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


async def system_addresses(host: str, port: int | None) -> list[str]:
    """Return what this machine's resolver says of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class AlertSender:
    """Sends notifications; all methods run on one event loop.

    Parameters
    ----------
    timeout_s : float
        Of one try.
    resolve : callable
        Takes host and port, returns the addresses to which they lead; asked once a try.
    tls : ssl.SSLContext or None
        What receivers' certificates are checked with; None: as the system says.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Callable[[str, int | None], Awaitable[list[str]]] = system_addresses,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._tls = tls

    async def send(self, channel: ChannelConfig, message_id: str, body: bytes) -> Result:
        """Try once, in 15 s from the look-up of the name to the answer's head.

        Never raises: whatever goes wrong is the result's `error`.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if channel.apprise is not None:
                    document = msgspec.json.decode(body)
                    return await send_by_apprise(channel.apprise, message_id, document)
                post = await asyncio.to_thread(self._prepared, channel, message_id, body)
                return await self._post(post)
        except TimeoutError:
            return Result(None, f"no answer within {self._timeout_s:.0f} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            # ValueError: refused addresses and secrets, and names that no resolver takes.
            return Result(None, f"{type(error).__name__}: {error}")
        except Exception as error:  # the webhook loop: one that cannot be sent stops no other
            log.exception("notification %s cannot be sent", message_id)
            return Result(None, f"{type(error).__name__}, see the log")

    def _prepared(self, channel: ChannelConfig, message_id: str, body: bytes) -> _Post:
        """Return what is posted; reads secrets of files, so it runs in a thread."""
        now_us = self._clock.now_us()
        if channel.webhook is not None:
            return _for_webhook(channel.webhook, message_id, body, now_us // 1_000_000)
        if channel.slack is not None:
            slack = channel.slack
            url = check_url(read_secret(slack.url, slack.url_file))
            sent = slack_body(msgspec.json.decode(body), message_id)
            return _Post(url, slack.allow_private, sent)
        if channel.pagerduty is not None:
            duty = channel.pagerduty
            key = read_secret(duty.routing_key, duty.routing_key_file)
            sent = pagerduty_body(msgspec.json.decode(body), key)
            return _Post(duty.url, duty.allow_private, sent)
        assert channel.alertmanager is not None
        url = alerts_url(channel.alertmanager.url)
        return _Post(url, channel.alertmanager.allow_private, expiring(body, now_us))

    async def _post(self, post: _Post) -> Result:
        """Connect to the addresses that were checked, in their order, until one takes it."""
        url = httpx2.URL(post.url)
        host = url.raw_host.decode("ascii")
        addresses = allowed(
            host, await self._resolve(host, url.port), allow_private=post.allow_private
        )
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._post_to(address, url, post)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                fault = error
        raise fault

    async def _post_to(self, address: str, url: httpx2.URL, post: _Post) -> Result:
        # No environment: a proxy would resolve the name again. No kept connections: two names
        # may share an address, and TLS is checked for one of them.
        client = httpx2.AsyncClient(
            verify=await self._tls_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._timeout_s, connect=self._timeout_s / _ADDRESSES_TRIED),
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=0),
        )
        headers = {**_HEADERS, **post.headers, "host": url.netloc.decode("ascii")}
        async with (
            client,
            client.stream(
                "POST",
                url.copy_with(host=address),
                headers=headers,
                content=post.body,
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            ) as answer,
        ):
            return await self._result(answer)

    async def _result(self, answer: httpx2.Response) -> Result:
        status = answer.status_code
        if 200 <= status < 300:
            return Result(status)
        now = datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC)
        asked_s = retry_after_s(answer.headers.get("retry-after", "").encode(), now=now)
        if 300 <= status < 400:
            return Result(status, f"answered {status}; redirects are not followed", asked_s)
        return Result(status, f"answered {status}: {await _start_of(answer)}", asked_s)

    async def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            # It reads all certificates of the system, and imports the transport.
            self._tls = await asyncio.to_thread(httpx2.create_ssl_context)
        return self._tls


def _for_webhook(config: WebhookConfig, message_id: str, body: bytes, timestamp_s: int) -> _Post:
    keys = parse_secrets(read_secret(config.secret, config.secret_file))
    headers = signed_headers(keys, message_id, timestamp_s, body)
    return _Post(config.url, config.allow_private, body, headers)


async def _start_of(answer: httpx2.Response) -> str:
    """Return the first bytes of an answer as one line; the rest is not read."""
    async for chunk in answer.aiter_raw(_SHOWN_BYTES):
        return " ".join(chunk[:_SHOWN_BYTES].decode("utf-8", "replace").split())
    return "no body"
