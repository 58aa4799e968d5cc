"""Signatures of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from monitors.errors import SecretInvalid

PREFIX = "whsec_"
SHORTEST_BYTES = 24
LONGEST_BYTES = 64


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Return the keys of one secret, or of several that a rotation separates by commas.

    Parameters
    ----------
    text : str
        Base64 of 24 to 64 bytes each, with or without `whsec_` before it.

    Raises
    ------
    SecretInvalid
        One of them is something else; the message never repeats it.
    """
    return tuple(_key(part.strip()) for part in text.split(","))


def _key(part: str) -> bytes:
    encoded = part.removeprefix(PREFIX)
    try:
        # Some tools leave the padding out.
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SHORTEST_BYTES <= len(key) <= LONGEST_BYTES:
        raise SecretInvalid(
            f"a webhook's secret is `{PREFIX}` and the base64 of {SHORTEST_BYTES} to"
            f" {LONGEST_BYTES} random bytes; make one with `openssl rand -base64 32`"
        )
    return key


def signature(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the `webhook-signature` header: one signature a key, separated by spaces.

    References
    ----------
    Standard Webhooks 1.0.0, "Signature scheme": https://www.standardwebhooks.com
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def signed_headers(
    keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """Return the three headers of a message; the id stays, the timestamp is the try's."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(keys, message_id, timestamp_s, body),
    }
