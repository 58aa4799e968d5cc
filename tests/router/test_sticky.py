from router.config import RouteConfig
from router.sticky import sticky_key_of

HEADERS = {b"x-driftgate-user": b"ada", b"x-session": b"s1", b"x-empty": b""}


def _key(sticky: str, body_user: str | None = None, *, named: bool = True) -> bytes | None:
    route = RouteConfig(name="chat", split={"a": 1.0}, sticky=sticky)
    headers = HEADERS if named else {}
    return sticky_key_of(route, header=headers.get, body_user=body_user)


def test_the_header_comes_before_the_body() -> None:
    """`user` is the header's, when both name one."""
    assert _key("user", "bob") == b"ada"


def test_the_bodys_user_counts_without_the_header() -> None:
    """`user` is what the body says, else nobody."""
    assert _key("user", "bob", named=False) == b"bob"
    assert _key("user", "", named=False) is None
    assert _key("user", named=False) is None


def test_a_header_of_choice_is_the_only_key() -> None:
    """`header:NAME` takes that header in any case, and never the body."""
    assert _key("header:X-Session", "bob") == b"s1"
    assert _key("header:X-Empty", "bob") is None
    assert _key("header:X-Missing", "bob") is None


def test_none_never_has_a_key() -> None:
    """`none` draws for every request."""
    assert _key("none", "bob") is None


def test_a_user_that_is_not_text_has_a_key_all_the_same() -> None:
    """A lone surrogate in the body's JSON is hashed, not an error."""
    assert _key("user", "\ud800", named=False) == b"\xed\xa0\x80"
