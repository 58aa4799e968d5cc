"""Bodies made to be dear: judging them must not keep other clients waiting."""

import time
from collections.abc import Callable

import pytest
from support.hostile.kit import ALIVE, CHAT, Wire, post
from support.worker import RunningWorker

SIZE = 4_000_000  # just below the limit of the worker
PATIENCE_S = 0.6  # of a busy machine; quadratic judging takes seconds
_START = b'{"model":"chat","messages":[],'
_FORM = b"Content-Type: multipart/form-data; boundary=x"


def _list_of(item: bytes) -> bytes:
    return _START + b'"a":[' + item * (SIZE // len(item)) + b"1]}"


def _text_of(piece: bytes) -> bytes:
    return _START + b'"a":"' + piece * (SIZE // len(piece)) + b'"}'


BODIES: dict[str, Callable[[], bytes]] = {
    "empty strings": lambda: _list_of(b'"",'),
    "small numbers": lambda: _list_of(b"1,"),
    "numbers of 399 digits": lambda: _list_of(b"1" * 399 + b","),
    "numbers of 60 digits": lambda: _list_of(b"2" * 60 + b","),
    "strings of digits": lambda: _list_of(b'"' + b"3" * 60 + b'",'),
    "objects with a model": lambda: _list_of(b'{"model":1},'),
    "lists": lambda: _list_of(b"[],"),
    "lists of strings": lambda: _list_of(b'["",""],'),
    "lists of depth 90": lambda: _list_of(b"[" * 90 + b"]" * 90 + b","),
    "escaped letters": lambda: _text_of(b"\\u0061"),
    "escaped backslashes": lambda: _text_of(b"\\\\"),
    "escaped quotes": lambda: _text_of(b'\\"'),
    "escaped pairs": lambda: _text_of(b"\\ud83d\\ude00"),
    "letters beyond ASCII": lambda: _text_of("é".encode()),
    "words like keys": lambda: _text_of(b'\\"model\\":'),
    "a model in every key": lambda: _START + b",".join([b'"model":"chat"'] * (SIZE // 16)) + b"}",
    "many keys": lambda: _START + b",".join(b'"k%d":0' % n for n in range(SIZE // 14)) + b"}",
    "brackets that never close": lambda: b"[" * SIZE,
    "objects that never close": lambda: b'{"a":' * (SIZE // 5),
    "white space": lambda: b" " * SIZE,
}
FORMS: dict[str, Callable[[], bytes]] = {
    "boundaries that nearly match": lambda: b"\r\n--" * (SIZE // 4),
    "boundaries": lambda: b"--x\r\n" * (SIZE // 5),
    "empty parts": lambda: b"--x\r\n\r\n\r\n" * (SIZE // 9),
    "parts with fields": lambda: b"--x\r\nA: b\r\n\r\n\r\n" * (SIZE // 15),
    "a head without an end": lambda: b"--x\r\n" + b"A: b\r\n" * (SIZE // 6),
    "semicolons": lambda: b"--x\r\nContent-Disposition: form-data" + b';name="a"' * (SIZE // 9),
    "quotes": lambda: b"--x\r\nContent-Disposition: form-data; name=" + b'"\\' * (SIZE // 2),
    "dashes": lambda: b"-" * SIZE,
    "line ends": lambda: b"\r\n" * (SIZE // 2),
}


def _longest_wait_s(worker: RunningWorker, sent: bytes) -> float:
    """Send a request and ask for a sign of life meanwhile; return the longest wait for one."""
    heavy, light = Wire(worker.port), Wire(worker.port)
    longest_s = 0.0
    try:
        heavy.deliver(sent)
        for count in range(1, 200):
            began_s = time.monotonic()
            light.talk(ALIVE, answers=count)
            longest_s = max(longest_s, time.monotonic() - began_s)
            heavy.poll()
            if heavy.heard.answers or heavy.heard.ended:
                break
            time.sleep(0.005)
        assert heavy.talk(b"", answers=1).answers[0].status < 500
    finally:
        heavy.close()
        light.close()
    return longest_s


@pytest.mark.parametrize(
    ("bodies", "target", "field"),
    [(BODIES, CHAT, b"X-A: b"), (FORMS, b"/v1/audio/transcriptions", _FORM)],
    ids=["JSON", "forms"],
)
def test_nobody_waits_for_a_heavy_body(
    bodies: dict[str, Callable[[], bytes]],
    target: bytes,
    field: bytes,
    worker: RunningWorker,
    subtests: pytest.Subtests,
) -> None:
    """While a body of the largest size is judged, others are answered."""
    for name, body in bodies.items():
        sent = post(body(), target, field)
        with subtests.test(name):
            assert _longest_wait_s(worker, sent) < PATIENCE_S
