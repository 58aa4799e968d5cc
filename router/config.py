"""Configuration of upstreams and routes."""

import re
import ssl
from importlib.util import find_spec
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from router.durations import DurationSeconds

Share = Annotated[float, Field(ge=0.0, le=1.0)]
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(r"[ -~\x80-\xff]*")  # what a field can carry: latin-1, no controls
RESERVED_FIELDS = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Header fields that belong to a connection or a message: the client of upstreams writes them."""
_KEY = re.compile(r"[!-~]*")


class Frozen(BaseModel):
    """A strict, immutable section: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "unix"}:
        raise ValueError("must start with `http://`, `https://` or `unix://`")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("must name a socket, such as `unix:///run/model.sock`")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("must name a host, such as `http://127.0.0.1:8000/v1`")
    if parts.username or parts.password:
        raise ValueError("must not carry credentials; use `api_key`")
    if parts.query or parts.fragment:
        raise ValueError("must not carry a query or a fragment")
    try:
        parts.port  # noqa: B018  (reading it is what checks it)
        if parts.hostname and ":" not in parts.hostname:
            parts.hostname.encode("idna")
    except ValueError as error:
        raise ValueError(f"must name a host and a port that can be: {error}") from error
    return url


def _check_ca_file(path: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:
        raise ValueError(f"must name a readable PEM file of certificates: {error}") from error
    return path


def _no_password() -> str:
    # Without this OpenSSL would ask the terminal.
    raise ValueError("the key is encrypted; store it without a password")


def _check_proxy(proxy: SecretStr) -> SecretStr:
    # The whole URL may be a secret: the messages do not tell it.
    try:
        parts = urlsplit(proxy.get_secret_value())
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError("must name a host and a port that can be") from error
    if parts.scheme not in {"http", "https", "socks5", "socks5h"}:
        raise ValueError("must start with `http://`, `https://`, `socks5://` or `socks5h://`")
    if not sound or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must be a host and a port alone, such as `http://10.0.0.1:3128`")
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ValueError("needs the package `socksio`: install `driftgate[http2]`")
    return proxy


def _check_http2(http2: bool) -> bool:  # noqa: FBT001  (pydantic calls it)
    if http2 and find_spec("h2") is None:
        raise ValueError("needs the package `h2`: install `driftgate[http2]`")
    return http2


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name):
            raise ValueError(f"`{name}` is no name of a header field")
        if name.lower().encode() in RESERVED_FIELDS:
            raise ValueError(f"`{name}` is written by the gateway itself")
        if not _FIELD_VALUE.fullmatch(value):
            # The value may be a credential: only the name is told.
            raise ValueError(f"the value of `{name}` holds what a header field cannot carry")
    return headers


def _check_key(key: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(key.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces")
    return key


ApiKey = Annotated[SecretStr, AfterValidator(_check_key)]
CaFile = Annotated[str, AfterValidator(_check_ca_file)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_check_proxy)]
Http2 = Annotated[bool, AfterValidator(_check_http2)]
Fields = Annotated[dict[str, str], AfterValidator(_check_headers)]


class Price(Frozen):
    """USD per million tokens."""

    input: float = Field(ge=0)  # of prompt tokens
    output: float = Field(0.0, ge=0)  # of response tokens
    cached_input: float | None = Field(None, ge=0)  # of cached prompt tokens; default: `input`


class UpstreamConfig(Frozen):
    """One model server, or the embedded engine."""

    name: str = ""  # taken from its key
    url: Annotated[str, AfterValidator(_check_url)] | None = (
        None  # base URL, with /v1 if it has one
    )
    engine: Literal["llama.cpp"] | None = None  # instead of `url`: the embedded engine
    model: str | None = Field(None, min_length=1)  # name sent upstream; else the client's
    api_key: ApiKey | None = None  # the client's own is passed on without
    api_key_file: str | None = None  # instead of `api_key`: a file that holds it
    protocol: Literal["openai", "anthropic"] = "openai"  # what the server speaks
    version: str | None = None  # what the record calls this deployment
    max_connections: int = Field(256, ge=1, le=65_536)  # of one worker, open at once
    max_concurrency: int | None = Field(None, ge=1)  # requests of one worker; max_connections
    max_queue: int = Field(2_000, ge=0)  # requests that may wait, no longer than `connect`
    ca_file: CaFile | None = None  # additional trust for https
    verify_tls: bool = True  # false: any certificate is taken
    server_name: str | None = Field(None, min_length=1)  # TLS name, in place of the URL's host
    client_cert: str | None = None  # PEM: what an https upstream asks of its clients
    client_key: str | None = None  # its key, when `client_cert` does not hold it
    proxy: ProxyUrl | None = None  # reached through this proxy: http, https or socks5
    http2: Http2 = False  # HTTP/2, where the server has it; needs `driftgate[http2]`
    headers: Fields = {}  # added to every request
    prices: dict[str, Price] = {}  # model name (or "*") to price

    @model_validator(mode="after")
    def _url_or_engine(self) -> Self:
        if (self.url is None) == (self.engine is None):
            raise ValueError("needs exactly one of `url` and `engine`")
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("at most one of `api_key` and `api_key_file` may be given")
        return self

    @model_validator(mode="after")
    def _connection(self) -> Self:
        scheme = urlsplit(self.url or "").scheme
        if (self.proxy is not None or self.http2) and scheme not in {"http", "https"}:
            raise ValueError("`proxy` and `http2` are for an `http://` or `https://` `url`")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("`client_key` is given without `client_cert`")
        if (self.client_cert or self.server_name) and scheme != "https":
            raise ValueError("`client_cert` and `server_name` are for an `https://` `url`")
        if self.client_cert is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                    self.client_cert, self.client_key, password=_no_password
                )
            except (OSError, ValueError) as error:
                raise ValueError(
                    "`client_cert` and `client_key` must be readable PEM files that belong "
                    f"together: {error}"
                ) from error
        return self


class Timeouts(Frozen):
    """Bounds of one request; tokens reset `idle`, bytes do not."""

    connect: DurationSeconds = 2.0  # name, TCP and TLS of one try
    first_token: DurationSeconds = 30.0  # of one try of a stream, up to its first content
    idle: DurationSeconds = 30.0  # between two pieces of content of a stream
    total: DurationSeconds = 300.0  # all tries together, to the last byte


class RetryConfig(Frozen):
    """How often an upstream is tried, and the share of active requests that may be repeats."""

    attempts: int = Field(2, ge=1, le=10)  # tries in all before `fallback`, first one included
    budget: Share = 0.2  # retries and fallbacks at once; 3 are always allowed


class CacheConfig(Frozen):
    """Exact response cache of one route."""

    ttl: DurationSeconds  # an answer is used for so long


class RouteConfig(Frozen):
    """What happens to requests for one model name (or "*", the rest)."""

    name: str = ""  # taken from its key
    split: dict[str, Share] = Field(min_length=1)  # upstreams and their shares, 1 in all
    sticky: str = "user"  # user | header:NAME | none
    shadow: dict[str, Share] = {}  # upstreams that get a copy of a share of requests
    shadow_concurrency: int = Field(16, ge=1)  # copies in flight; more are dropped
    fallback: tuple[str, ...] = ()  # upstreams to try after the chosen one, in this order
    retry: RetryConfig = RetryConfig()
    timeouts: Timeouts = Timeouts()
    stream_failover: Literal["error"] = "error"  # a stream that breaks ends with an error event
    cache: CacheConfig | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(self.split.values())
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"`split` adds up to {total:g}; the weights must add up to 1")
        header = self.sticky.removeprefix("header:")
        if self.sticky not in {"user", "none"} and (header == self.sticky or not header):
            raise ValueError(f"`sticky` is `{self.sticky}`; use `user`, `header:NAME` or `none`")
        return self
