"""Where notifications may go: a receiver must not be a way into the network we stand in."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from monitors.errors import AddressRefused

_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")


def check_url(url: str) -> str:
    """Return a receiver's URL if it is one.

    Raises
    ------
    AddressRefused
        It is not `http(s)://HOST...`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise AddressRefused("a receiver's URL must be `http://HOST...` or `https://HOST...`")
    return url


def is_public(address: str) -> bool:
    """Say whether an IP address is reachable from anywhere, the IPv4 inside an IPv6 included."""
    parsed = ip_address(address.partition("%")[0])
    inner = _inner(parsed) if isinstance(parsed, IPv6Address) else None
    if inner is not None:
        parsed = inner
    site_local = isinstance(parsed, IPv6Address) and parsed.is_site_local
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or site_local)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a mapped, 6to4, Teredo, NAT64 or compatible one leads to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def allowed(host: str, addresses: Iterable[str], *, allow_private: bool) -> list[str]:
    """Return the addresses of a host to which we may connect, in their order.

    The caller connects to one of these, never to the name again: a second look-up could answer
    differently.

    Raises
    ------
    AddressRefused
        There is none.
    """
    unique = list(dict.fromkeys(addresses))
    kept = unique if allow_private else [a for a in unique if is_public(a)]
    if not kept:
        shown = ", ".join(unique) or "no address"
        raise AddressRefused(
            f"`{host}` leads to {shown}, which is not public; say `allow_private: true` if that"
            " receiver is meant"
        )
    return kept
