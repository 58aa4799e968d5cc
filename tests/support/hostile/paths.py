"""Rows about paths: ways up, disguises, encodings, endpoints that command a server; and queries."""

from support.hostile.kit import ALIVE, CHAT, GOOD_BODY, SMUGGLED, Row, get, one_of, post

_MISSING = one_of(400, 404)


def _refused(name: str, path: bytes) -> Row:
    """Return a row whose path must not reach an upstream."""
    return Row(f"path {name}", post(GOOD_BODY, path), (_MISSING,), "path")


def _outside(path: bytes) -> Row:
    """Return a row of an endpoint beside /v1 that model servers have."""
    return Row(f"outside {path.decode()}", post(b"{}", path), (404,), "path")


WAYS_UP = [
    _refused("up and out", b"/v1/../reset_prefix_cache"),
    _refused("up and in again", b"/v1/../v1/chat/completions"),
    _refused("up from below", b"/v1/chat/../../metrics"),
    _refused("up at the end", b"/v1/chat/completions/.."),
    _refused("a dot", b"/v1/./chat/completions"),
    _refused("a dot at the end", b"/v1/chat/completions/."),
    _refused("encoded dots", b"/v1/%2e%2e/metrics"),
    _refused("encoded dots in capitals", b"/v1/%2E%2E/metrics"),
    _refused("one encoded dot", b"/v1/.%2e/metrics"),
    _refused("an encoded slash behind dots", b"/v1/..%2fmetrics"),
    _refused("everything encoded", b"/v1/%2e%2e%2fmetrics"),
    _refused("dots with a parameter", b"/v1/..;/metrics"),
    _refused("dots with a parameter of letters", b"/v1/..;a=b/metrics"),
    _refused("dots encoded twice", b"/v1/%252e%252e/metrics"),
    _refused("a slash encoded twice", b"/v1/..%252fmetrics"),
    _refused("overlong dots", b"/v1/%c0%ae%c0%ae/metrics"),
    _refused("an overlong slash", b"/v1/..%c0%afmetrics"),
    _refused("a longer overlong slash", b"/v1/..%e0%80%afmetrics"),
    _refused("a backslash", b"/v1/..\\metrics"),
    _refused("an encoded backslash", b"/v1/..%5cmetrics"),
    _refused("an encoded backslash in capitals", b"/v1/..%5Cmetrics"),
    _refused("dots as %u", b"/v1/%u002e%u002e/metrics"),
]

DISGUISES = [
    _refused("two slashes", b"/v1//chat/completions"),
    _refused("two slashes in the middle", b"/v1/chat//completions"),
    _refused("three slashes at the start", b"///v1/chat/completions"),
    _refused("capitals", b"/V1/chat/completions"),
    _refused("no slash behind the prefix", b"/v1chat/completions"),
    _refused("the prefix twice", b"/v1/v1/../chat/completions"),
    _refused("an encoded letter", b"/v1/chat/%63ompletions"),
    _refused("an encoded letter in capitals", b"/v1/%43HAT/completions"),
    _refused("an encoded prefix", b"/%76%31/chat/completions"),
    _refused("an encoded slash between known names", b"/v1/chat%2fcompletions"),
    _refused("NUL at the end", b"/v1/chat/completions%00"),
    _refused("NUL in the middle", b"/v1/chat%00/completions"),
    _refused("a line break", b"/v1/chat/completions%0d%0aX-Injected:%201"),
    _refused("a line feed", b"/v1/files/a%0ab"),
    _refused("a tab", b"/v1/files/a%09b"),
    _refused("an escape", b"/v1/files/%1b%5b2J"),
    _refused("DEL", b"/v1/files/a%7fb"),
    _refused("bytes that are not UTF-8", b"/v1/files/%ff%fe"),
    _refused("half a character", b"/v1/files/%e2%82"),
    _refused("a surrogate", b"/v1/files/%ed%a0%80"),
    _refused("an encoding cut short", b"/v1/files/a%2"),
    _refused("an encoding without digits", b"/v1/files/a%zz"),
    _refused("a percent sign alone", b"/v1/files/100%"),
    _refused("a space encoded as in a form, and a way up", b"/v1/files/a+b/../c"),
    Row("path the prefix alone", get(b"/v1"), (404,), "path"),
    Row("path the root", get(b"/"), (404,), "path"),
    Row(
        "path with a parameter",
        post(GOOD_BODY, CHAT + b";x=1"),
        (one_of(200, 400, 404),),
        reaches=1,
    ),
    Row("path of the health check with a slash", get(b"/healthz/"), (404,), "path"),
    Row("path of the health check and up", get(b"/healthz/../v1/models"), (404,), "path"),
    Row(
        "path of the health check and encoded up", get(b"/healthz/%2e%2e/v1/models"), (404,), "path"
    ),
    Row("path of feedback with a slash", post(b"{}", b"/v1/feedback/"), (_MISSING,)),
]

CONTROL = [
    _refused("that loads an adapter", b"/v1/load_lora_adapter"),
    _refused("that unloads an adapter", b"/v1/unload_lora_adapter"),
    _refused("that loads an adapter, encoded", b"/v1/load%5flora%5fadapter"),
    _refused("that loads an adapter, one letter encoded", b"/v1/%6coad_lora_adapter"),
    _refused("that loads an adapter, with a slash", b"/v1/load_lora_adapter/"),
    _refused("that loads an adapter, with a parameter", b"/v1/load_lora_adapter;x"),
    *(
        _outside(path)
        for path in (
            b"/metrics",
            b"/reset_prefix_cache",
            b"/sleep",
            b"/wake_up",
            b"/shutdown",
            b"/update_weights",
            b"/start_profile",
            b"/flush_cache",
            b"/server_info",
            b"/collective_rpc",
            b"/slots/0?action=erase",
            b"/props",
            b"/api/v1/reload",
            b"/api/v1/status",
            b"/openapi.json",
            b"/docs",
            b"/.env",
            b"/.git/config",
            b"/wp-login.php",
            b"/cgi-bin/test",
        )
    ),
]

QUERIES = [
    Row("query of NUL", post(GOOD_BODY, CHAT + b"?a=%00"), (200,), reaches=1),
    Row(
        "query with a line break",
        post(GOOD_BODY, CHAT + b"?a=%0d%0aInj%65cted:1"),
        (200,),
        reaches=1,
    ),
    Row("query with ways up", post(GOOD_BODY, CHAT + b"?../../metrics"), (200,), reaches=1),
    Row("query with a model", post(b"{}", CHAT + b"?model=chat"), (400,), "model"),
    Row(
        "query of 8 kB",
        post(GOOD_BODY, CHAT + b"?" + b"a=b&" * 2_000),
        (one_of(200, 414),),
        reaches=1,
    ),
    Row("query that is no text", post(GOOD_BODY, CHAT + b"?%ff%fe"), (200,), reaches=1),
    Row(
        "query with a raw line feed",
        b"GET /v1/models?a\nb HTTP/1.1\r\n\r\n" + SMUGGLED,
        closes=True,
    ),
    Row("query behind a wrong path", get(b"/nowhere?" + b"x" * 4_000) + ALIVE, (404, 200)),
]
