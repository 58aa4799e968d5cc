"""Answers of the control plane that are too long to hold: read as they come."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2

from gateway.cli.exits import UnreachableError
from gateway.cli.http import Answer
from gateway.cli.source import CONNECT_TIMEOUT_S, Server, ServerGone

_SILENCE_S = 150.0  # longer than a slice of an export may take
_API = "/api/v1"


@contextmanager
def streamed(server: Server, path: str, params: Mapping[str, object]) -> Iterator[Iterator[bytes]]:
    """Give the pieces of an answer's body; parameters that are None are left out.

    Raises
    ------
    ServerGone
        Nothing was answered.
    UnreachableError
        The answer broke off, or is an error of the server's.
    click.UsageError
        The request is refused.
    """
    timeout = httpx2.Timeout(_SILENCE_S, connect=CONNECT_TIMEOUT_S)
    headers = {"authorization": f"Bearer {server.key}"} if server.key else {}
    query = {name: str(value) for name, value in params.items() if value is not None}
    is_answering = False
    try:
        with (
            # A proxy of the environment is for the internet, not for this machine's server.
            httpx2.Client(timeout=timeout, trust_env=False) as client,
            client.stream("GET", server.url + _API + path, params=query, headers=headers) as answer,
        ):
            is_answering = True
            if not answer.is_success:
                raise server.refusal(Answer(answer.status_code, answer.read()))
            yield answer.iter_bytes()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = f"{server.url}: {error or type(error).__name__}"
        if is_answering:
            raise UnreachableError(f"the answer broke off; {why}") from error
        raise ServerGone(why) from error
