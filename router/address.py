"""Where an upstream listens, and whom to trust there."""

import ssl
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from router.config import UpstreamConfig

UNIX_BASE_PATH = "/v1"


@dataclass(slots=True, frozen=True)
class Address:
    """Where an upstream listens.

    Attributes
    ----------
    host, port : str, int
        Empty and 0 for a Unix socket.
    socket_path : str or None
        Path of the Unix socket.
    tls : bool
    authority : str
        Value of the Host field.
    base_path : str
        Percent-encoded, without a slash at its end.
    """

    host: str
    port: int
    socket_path: str | None
    tls: bool
    authority: str
    base_path: str

    @property
    def root_path(self) -> str:
        """Return what lies before the paths beside the API: the base path without its `/v1`."""
        return self.base_path.removesuffix("/v1")


def parse_address(
    config: UpstreamConfig, *, socket_path: str | None = None, base_path: str | None = None
) -> Address:
    """Return where the upstream of a configuration listens.

    Parameters
    ----------
    config : UpstreamConfig
    socket_path : str, optional
        Connect to this Unix socket, whatever `config.url` says; needed for an engine, which
        has no URL.
    base_path : str, optional
        Replaces the path of `config.url`. A Unix socket's URL has no room for a base path, so
        there it is `/v1` unless given here.

    Raises
    ------
    ValueError
        The URL has an impossible host or port, or there is neither URL nor socket.
    """
    key = f"upstreams.{config.name}.url"
    parts = urlsplit(config.url or "unix:")
    if parts.scheme == "unix":
        path = socket_path or parts.path
        if not path:
            raise ValueError(f"`{key}` is missing, and no socket was given")
        base = UNIX_BASE_PATH if base_path is None else base_path
        return Address("", 0, path, tls=False, authority="localhost", base_path=_path(base))
    tls = parts.scheme == "https"
    try:
        port = parts.port
        host = (parts.hostname or "").encode("idna" if not _is_ipv6(parts.hostname) else "ascii")
    except ValueError as error:
        raise ValueError(f"`{key}` is `{config.url}`: {error}") from error
    name = host.decode("ascii")
    shown = f"[{name}]" if ":" in name else name
    default = 443 if tls else 80
    authority = shown if port in {None, default} else f"{shown}:{port}"
    base = _path(parts.path if base_path is None else base_path)
    return Address(name, port or default, socket_path, tls, authority, base)


def tls_context(config: UpstreamConfig) -> ssl.SSLContext:
    """Return the trust settings of an https upstream.

    Raises
    ------
    ValueError
        `ca_file` or `client_cert` cannot be read.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if config.ca_file is not None:
        try:
            context.load_verify_locations(cafile=config.ca_file)
        except OSError as error:
            raise ValueError(
                f"`upstreams.{config.name}.ca_file` is `{config.ca_file}`: {error}; it must be "
                "a readable PEM file of certificates"
            ) from error
    if config.client_cert is not None:
        try:
            context.load_cert_chain(config.client_cert, config.client_key)
        except OSError as error:
            raise ValueError(
                f"`upstreams.{config.name}.client_cert` is `{config.client_cert}`: {error}; it and "
                "`client_key` must be readable PEM files that belong together"
            ) from error
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_ipv6(host: str | None) -> bool:
    return host is not None and ":" in host


def _path(path: str) -> str:
    return quote(path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._")
