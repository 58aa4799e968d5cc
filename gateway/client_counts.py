"""How many connections each client address holds."""

import ipaddress
from collections import Counter

IPV6_CLIENT_BITS = 64
"""A host is given at least so many bits of addresses to choose from (RFC 6177)."""


def client_of(address: str) -> str:
    """Return what an address counts as: itself, its /64, or "" if it is not counted.

    Unix sockets and loopback are not counted: who comes from this machine is a proxy or a test,
    and speaks for many.
    """
    try:
        peer = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(peer, ipaddress.IPv6Address):
        if peer.ipv4_mapped is None:
            network = ipaddress.ip_network((int(peer), IPV6_CLIENT_BITS), strict=False)
            return "" if peer.is_loopback else str(network)
        peer = peer.ipv4_mapped
    return "" if peer.is_loopback else str(peer)


class ClientCounts:
    """Counts connections by `client_of`; holds only clients that are connected."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many clients are connected."""
        return len(self._counts)

    def enter(self, client: str) -> int:
        """Count a connection; return how many the client has now, 0 if it is not counted."""
        if not client:
            return 0
        self._counts[client] += 1
        return self._counts[client]

    def leave(self, client: str) -> None:
        """Forget a connection."""
        if client:
            self._counts[client] -= 1
            if self._counts[client] <= 0:
                del self._counts[client]
