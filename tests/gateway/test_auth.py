import hashlib

import pytest

from gateway.auth import NO_KEYS_TENANT, keys_by_digest, tenant_of
from gateway.config import KeyConfig
from gateway.errors import InvalidApiKey
from router.upstream import Headers

LONG = "sk-" + "a" * 200
SECRETS = {"one": LONG + "1", "two": LONG + "2", "short": "sk-x"}
KEYS = keys_by_digest(
    tuple(
        KeyConfig(name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), tenant=f"of-{name}")
        for name, text in SECRETS.items()
    )
)


class Asked:
    """The part of an exchange that is looked at."""

    method, path, query, client, started_s, responded = "POST", "/v1/x", b"", "", 0.0, False

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers: Headers = list(headers)

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


def tenant(*headers: tuple[bytes, bytes]) -> str:
    """Return who asks."""
    return tenant_of(Asked(*headers), KEYS)  # type: ignore[arg-type]  # no body is read


@pytest.mark.parametrize("name", list(SECRETS))
@pytest.mark.parametrize(
    ("header", "prefix"),
    [
        (b"authorization", "Bearer "),
        (b"authorization", "bearer "),
        (b"authorization", "BEARER  "),
        (b"x-api-key", ""),
        (b"api-key", ""),
    ],
)
def test_key_names_its_tenant(name: str, header: bytes, prefix: str) -> None:
    """Each key belongs to its tenant, also those that share 200 characters with another."""
    assert tenant((header, (prefix + SECRETS[name]).encode())) == f"of-{name}"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer sk-unknown")],
        [(b"authorization", b"Bearer " + LONG.encode())],
        [(b"authorization", b"Bearer " + LONG.encode() + b"12")],
        [(b"authorization", b"Basic sk-x")],
        [(b"authorization", b"sk-x")],
        [(b"authorization", b"Bearer sk-X")],
        [(b"authorization", b"Bearer sk-x, Bearer sk-x")],
        [(b"authorization", b"Bearer " + hashlib.sha256(b"sk-x").hexdigest().encode())],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"Bearer sk-x")],
        [(b"x-goog-api-key", b"sk-x")],
        [(b"cookie", b"authorization=Bearer sk-x")],
        [(b"authorization", b"Bearer \xff\xfe")],
    ],
    ids=str,
)
def test_anything_else_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """No key, a part of one, one with a tail, its digest, another scheme: all are refused."""
    with pytest.raises(InvalidApiKey) as raised:
        tenant(*headers)
    assert "sk-" not in str(raised.value)


def test_wrong_bearer_is_not_saved_by_another_header() -> None:
    """A wrong bearer token is refused even beside a valid `x-api-key`."""
    with pytest.raises(InvalidApiKey):
        tenant((b"authorization", b"Bearer sk-unknown"), (b"x-api-key", b"sk-x"))


def test_without_keys_everyone_is_one_tenant() -> None:
    """With no keys configured nothing is asked."""
    assert tenant_of(Asked(), {}) == NO_KEYS_TENANT  # type: ignore[arg-type]  # no body is read
