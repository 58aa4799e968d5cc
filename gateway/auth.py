"""Who is asking: API keys of this gateway."""

import hashlib
from collections.abc import Mapping

from gateway.config import KeyConfig
from gateway.credentials import shown_key
from gateway.errors import InvalidApiKey
from gateway.exchange import Exchange

NO_KEYS_TENANT = "default"


def keys_by_digest(keys: tuple[KeyConfig, ...]) -> dict[bytes, KeyConfig]:
    """Index keys by the SHA-256 of their text."""
    return {bytes.fromhex(key.sha256): key for key in keys}


def tenant_of(exchange: Exchange, keys: Mapping[bytes, KeyConfig]) -> str:
    """Return the tenant a request belongs to.

    Keys are looked up by their whole SHA-256, so neither time nor a shared prefix tells anything
    of a key. Without keys configured everyone is one tenant.

    Raises
    ------
    InvalidApiKey
        Keys are configured and the request shows none of them.
    """
    if not keys:
        return NO_KEYS_TENANT
    token = shown_key(exchange)
    key = keys.get(hashlib.sha256(token).digest()) if token else None
    if key is None:
        raise InvalidApiKey(
            "No valid API key was shown. Send one that `gateway.keys` lists as"
            " `Authorization: Bearer KEY`."
        )
    return key.tenant
