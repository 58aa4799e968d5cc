"""From a user's key to what the log has in its place."""

import re

from gateway.auth import NO_KEYS_TENANT
from gateway.config import Settings
from gateway.recording import hashed_user_key

_HASHED = re.compile(r"[0-9a-f]{32}")


def stored_user_keys(settings: Settings, key: str) -> tuple[str, ...]:
    """Return the pseudonyms of a user's key, one for each tenant that the configuration names.

    What already is a pseudonym, as the column `user_key` shows it, is among them unchanged.
    """
    tenants = {NO_KEYS_TENANT, *(one.tenant for one in settings.gateway.keys)}
    found = [hashed_user_key(tenant, key.encode()) for tenant in sorted(tenants)]
    return (*found, key) if _HASHED.fullmatch(key) else tuple(found)
