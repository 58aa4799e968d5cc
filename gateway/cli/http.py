"""One request to the control plane, by the standard library: a client library takes 0.2 CPU s."""

import http.client
import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit


class NoAnswer(Exception):
    """Nothing answers there, or not in HTTP."""


class TooSlow(NoAnswer):
    """The connection stands and no answer comes."""


class Answer(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class Call(NamedTuple):
    """What is asked; parameters that are None are left out."""

    method: str
    url: str
    params: Mapping[str, object] | None = None
    json: Mapping[str, object] | None = None
    key: str | None = None


def send(call: Call, *, connect_s: float, answer_s: float) -> Answer:
    """Send a request without looking at the environment's proxies, and read its answer.

    Raises
    ------
    NoAnswer, TooSlow
    """
    try:
        parts = urlsplit(call.url)
    except ValueError as error:
        raise NoAnswer(f"it is no address ({error}); write `http://HOST:PORT`") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NoAnswer("it is no address; write `http://HOST:PORT`")
    headers = {"accept": "*/*", "connection": "close"}
    if call.key:
        headers["authorization"] = f"Bearer {call.key}"
    body = None
    if call.json is not None:
        body, headers["content-type"] = json.dumps(dict(call.json)), "application/json"
    given = {name: str(value) for name, value in (call.params or {}).items() if value is not None}
    target = quote(parts.path or "/", safe="/%") + (f"?{urlencode(given)}" if given else "")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname, parts.port, timeout=connect_s)
        connection.connect()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error
    try:
        connection.sock.settimeout(answer_s)
        connection.request(call.method, target, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except TimeoutError as error:
        raise TooSlow(str(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error
    finally:
        connection.close()
