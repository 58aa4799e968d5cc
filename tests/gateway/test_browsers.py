"""What an open control plane refuses to browsers."""

import pytest

from gateway.browsers import forged

LOCAL = "127.0.0.1:8081"


@pytest.mark.parametrize(
    ("method", "headers", "is_local", "refused"),
    [
        ("GET", {"host": LOCAL}, True, False),
        ("GET", {"host": "localhost:8081"}, True, False),
        ("GET", {"host": "[::1]:8081"}, True, False),
        ("GET", {"host": "rebound.example:8081"}, True, True),
        ("GET", {"host": "127.0.0.1.example:8081"}, True, True),
        ("GET", {"host": "[::1"}, True, True),
        ("GET", {}, True, True),
        ("GET", {"host": "driftgate.monitoring:8081"}, False, False),
        ("GET", {"host": LOCAL, "sec-fetch-site": "cross-site"}, True, False),
        ("POST", {"host": LOCAL}, True, False),
        ("POST", {"host": LOCAL, "origin": f"http://{LOCAL}"}, True, False),
        ("POST", {"host": LOCAL, "sec-fetch-site": "same-origin"}, True, False),
        ("POST", {"host": LOCAL, "origin": "https://evil.example"}, True, True),
        ("POST", {"host": LOCAL, "origin": "null"}, True, True),
        ("POST", {"host": LOCAL, "origin": "http://127.0.0.1:3000"}, True, True),
        ("POST", {"host": LOCAL, "sec-fetch-site": "cross-site"}, True, True),
        ("POST", {"host": LOCAL, "sec-fetch-site": "same-site"}, True, True),
        ("DELETE", {"host": "gate:8081", "origin": "https://evil.example"}, False, True),
    ],
)
def test_requests_that_a_foreign_page_could_send_are_refused(
    method: str, headers: dict[str, str], *, is_local: bool, refused: bool
) -> None:
    """Foreign origins change nothing, and a name bound anew to loopback reads nothing."""
    assert (forged(method, headers, is_local=is_local) is not None) is refused
