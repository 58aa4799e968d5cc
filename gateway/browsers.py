"""Which requests to an open control plane a web page could have made behind its user's back.

A browser sends them from the user's own machine, so listening on loopback does not keep them out.
Without a key two things tell: another site's page names itself in `Origin` (Fetch Standard, 3.2)
and `Sec-Fetch-Site` (Fetch Metadata), and a name that was bound anew to 127.0.0.1 stands in `Host`.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})


def forged(method: str, headers: Mapping[str, str], *, is_local: bool) -> str | None:
    """Return why a request is refused, None when it is not.

    Parameters
    ----------
    headers : mapping
        Names in lower case, or of any case to a mapping that does not care.
    is_local : bool
        The server listens on loopback alone, so its name is an address or `localhost`.
    """
    host = headers.get("host", "")
    if is_local and not _is_own_name(host):
        return f"`{host}` is no name of this server; call it by its address or set an admin key"
    if method in _SAFE:
        return None
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if (site is not None and site not in _OWN_SITES) or (
        origin is not None and urlsplit(origin).netloc != host
    ):
        return "a page of another site may change nothing here"
    return None


def _is_own_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
