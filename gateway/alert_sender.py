"""One notification over HTTP: a checked address, a signature, a bound, no redirects."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx2

from gateway.retry_after import retry_after_s
from gateway.version import VERSION
from monitors.alerts.address import allowed
from monitors.alerts.alertmanager import alerts_url, expiring
from monitors.alerts.config import AlertmanagerConfig, ChannelConfig, WebhookConfig
from monitors.alerts.outbox import Result
from monitors.alerts.signing import parse_secrets, signed_headers
from router.clock import Clock

TIMEOUT_S = 15.0
_ADDRESSES_TRIED = 3
_SHOWN_BYTES = 200


class _Post(NamedTuple):
    url: httpx2.URL
    allow_private: bool
    headers: dict[str, str]
    body: bytes


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
                post = await self._prepared(channel, message_id, body)
                return await self._post(post)
        except TimeoutError:
            return Result(None, f"no answer within {self._timeout_s:.0f} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            # ValueError: refused addresses and secrets, and names that no resolver takes.
            return Result(None, f"{type(error).__name__}: {error}")

    async def _prepared(self, channel: ChannelConfig, message_id: str, body: bytes) -> _Post:
        headers = {"content-type": "application/json", "user-agent": f"driftgate/{VERSION}"}
        if channel.alertmanager is not None:
            return self._for_alertmanager(channel.alertmanager, headers, body)
        webhook = channel.webhook
        assert webhook is not None
        keys = parse_secrets(await _secret_of(webhook))
        timestamp_s = self._clock.now_us() // 1_000_000
        headers |= signed_headers(keys, message_id, timestamp_s, body)
        return _Post(httpx2.URL(webhook.url), webhook.allow_private, headers, body)

    def _for_alertmanager(
        self, config: AlertmanagerConfig, headers: dict[str, str], body: bytes
    ) -> _Post:
        url = httpx2.URL(alerts_url(config.url))
        sent = expiring(body, self._clock.now_us())
        return _Post(url, config.allow_private, headers, sent)

    async def _post(self, post: _Post) -> Result:
        """Connect to the addresses that were checked, in their order, until one takes it."""
        host = post.url.raw_host.decode("ascii")
        addresses = allowed(
            host, await self._resolve(host, post.url.port), allow_private=post.allow_private
        )
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._post_to(address, host, post)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                fault = error
        raise fault

    async def _post_to(self, address: str, host: str, post: _Post) -> Result:
        # No environment: a proxy would resolve the name again. No kept connections: two names
        # may share an address, and TLS is checked for one of them.
        client = httpx2.AsyncClient(
            verify=await self._tls_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._timeout_s, connect=self._timeout_s / _ADDRESSES_TRIED),
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=0),
        )
        headers = {**post.headers, "host": post.url.netloc.decode("ascii")}
        async with (
            client,
            client.stream(
                "POST",
                post.url.copy_with(host=address),
                headers=headers,
                content=post.body,
                extensions={"sni_hostname": host},
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


async def _secret_of(webhook: WebhookConfig) -> str:
    """Return the secret; a file is read at each try, so that a new one needs no reload."""
    if webhook.secret is not None:
        return webhook.secret.get_secret_value()
    assert webhook.secret_file is not None
    path = Path(webhook.secret_file)
    return (await asyncio.to_thread(path.read_text, encoding="utf-8")).strip()


async def _start_of(answer: httpx2.Response) -> str:
    """Return the first bytes of an answer as one line; the rest is not read."""
    async for chunk in answer.aiter_raw(_SHOWN_BYTES):
        return " ".join(chunk[:_SHOWN_BYTES].decode("utf-8", "replace").split())
    return "no body"
