"""Upstreams that are broken or malicious: the client gets the contract's answer, in time."""

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fake_answers import (
    CLOSE,
    RESET,
    STALL,
    STREAM_HEAD,
    Pause,
    SeenRequest,
    Step,
    chunk,
    completion,
    event,
    head,
    piece,
    whole,
)
from support.fake_upstream import FakeUpstream
from support.hostile.kit import GOOD_BODY, HostileWorker, Wire, check_error, post
from support.hostile.sound import sound
from support.raw_client import Answer
from support.worker import RunningWorker

CONFIG = """
gateway: {{limits: {{answer_bytes: 1048576}}}}
upstreams: {{a: {{url: "{url}", api_key: sk-a}}}}
routes:
  "*":
    split: {{a: 1.0}}
    timeouts: {{connect: 500ms, first_token: 400ms, idle: 300ms, total: 1s}}
"""
STREAM_BODY = GOOD_BODY[:-1] + b',"stream":true}'
OK = b"HTTP/1.1 200 OK\r\n"
TYPE = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def impatient(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream
) -> Iterator[RunningWorker]:
    """Run a worker that waits briefly and takes answers up to 1 MiB."""
    folder: Path = tmp_path_factory.mktemp("impatient")
    with HostileWorker(folder, CONFIG.format(url=upstream.url)) as running:
        yield running


@dataclass(frozen=True)
class Case:
    """What an upstream sends, and the statuses that are right for the client."""

    name: str
    steps: tuple[Step, ...]
    status: tuple[int, ...] = (502,)
    says: str = ""


def _sized(body: bytes, fields: bytes = b"") -> bytes:
    return OK + TYPE + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _good(request_model: str = "chat") -> bytes:
    seen = SeenRequest("POST", "/v1/chat/completions", [], GOOD_BODY, 0.0, 0, json.loads(GOOD_BODY))
    return json.dumps(completion(seen)).encode()


GOOD = _good()
_CHUNKS = OK + TYPE + b"Transfer-Encoding: chunked\r\n\r\n"


def _slowly(part: bytes, pause_s: float, times: int) -> tuple[Step, ...]:
    pair: tuple[Step, Step] = (part, Pause(pause_s))
    return pair * times


def _packed(data: bytes, repeat: int = 1) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(data) for _ in range(repeat)) + packer.flush()


def _with(**changes: object) -> bytes:
    return json.dumps(json.loads(GOOD) | changes).encode()


HEADS = [
    Case("a field of 70 kB", (OK + b"A: " + b"x" * 70_000 + b"\r\n\r\n",)),
    Case("a field without an end", (OK + b"A: ", *([b"x" * 60_000] * 20))),
    Case("1,000 fields", (OK + b"".join(b"A%d: x\r\n" % n for n in range(1_000)) + b"\r\n",)),
    Case("100,000 fields", (OK + b"a: b\r\n" * 100_000 + b"\r\n",)),
    Case("fields without an end, slowly", (OK, *_slowly(b"a: b\r\n", 0.1, 30)), (502, 504)),
    Case("interim answers without an end", (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,)),
    Case("hints without an end", (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 5_000,)),
    Case("two hints", (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 2, _sized(GOOD)), (200,)),
    Case(
        "a switch of protocols",
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
    ),
    *(
        Case(
            f"the status {line.decode('latin-1')}",
            (b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n", CLOSE),
        )
        for line in (
            b"0 X",
            b"99 X",
            b"600 X",
            b"999 X",
            b"1000 X",
            b"-200 X",
            b"20 OK",
            b"abc OK",
            b"2e2 OK",
        )
    ),
    Case("HTTP/2.0", (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", CLOSE)),
    Case("HTTP/0.9", (b"<html>hello</html>", CLOSE)),
    Case("an SSH banner", (b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE)),
    Case("line feeds alone", (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", CLOSE)),
    Case(
        "a carriage return in a value", (_sized(GOOD, b"X-Request-Id: a\rX-Injected: 1\r\n"), CLOSE)
    ),
    Case("NUL in a value", (_sized(GOOD, b"X-Request-Id: a\0b\r\n"), CLOSE)),
    Case("a folded field", (_sized(GOOD, b"X-Request-Id: a\r\n b\r\n"), CLOSE)),
    Case("a space in a name", (_sized(GOOD, b"X Request: a\r\n"), CLOSE)),
    Case("a space before the colon", (_sized(GOOD, b"X-Request-Id : a\r\n"), CLOSE)),
    Case("bytes beyond ASCII in a value", (_sized(GOOD, b"X-Request-Id: \xff\xfe\r\n"),), (200,)),
]

FRAMINGS = [
    Case("two lengths", (_sized(GOOD, b"Content-Length: 5\r\n"), CLOSE)),
    Case("the same length twice", (_sized(GOOD, b"Content-Length: %d\r\n" % len(GOOD)), CLOSE)),
    Case("a length and chunks", (_sized(GOOD, b"Transfer-Encoding: chunked\r\n"), CLOSE)),
    Case("a negative length", (OK + TYPE + b"Content-Length: -1\r\n\r\n" + GOOD, CLOSE)),
    Case("a length of letters", (OK + TYPE + b"Content-Length: x\r\n\r\n" + GOOD, CLOSE)),
    Case(
        "a length beyond 64 bits",
        (OK + TYPE + b"Content-Length: 99999999999999999999\r\n\r\n", CLOSE),
    ),
    Case("a length of a terabyte", (OK + TYPE + b"Content-Length: 1000000000000\r\n\r\n{", CLOSE)),
    Case(
        "a length that is not reached", (OK + TYPE + b"Content-Length: 900\r\n\r\n" + GOOD, CLOSE)
    ),
    Case(
        "a reset in the body",
        (OK + TYPE + b"Content-Length: 900\r\n\r\n" + GOOD, Pause(0.02), RESET),
    ),
    Case(
        "a coding that is not chunked",
        (OK + TYPE + b"Transfer-Encoding: gzip\r\n\r\n" + GOOD, CLOSE),
    ),
    Case(
        "a second coding", (OK + TYPE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", CLOSE)
    ),
    Case("a chunk size of letters", (_CHUNKS + b"zz\r\n", CLOSE)),
    Case("a chunk size beyond 64 bits", (_CHUNKS + b"fffffffffffffffff\r\n", CLOSE)),
    Case("a negative chunk size", (_CHUNKS + b"-1\r\n", CLOSE)),
    Case("a chunk without an end", (_CHUNKS + b"2\r\n{}0\r\n\r\n", CLOSE)),
    Case("chunks cut off", (_CHUNKS + chunk(GOOD), CLOSE)),
    Case("a chunk extension without an end", (_CHUNKS + b"1;", *([b"x" * 60_000] * 20))),
    Case(
        "a trailer without an end", (_CHUNKS + chunk(GOOD) + b"0\r\nA: ", *([b"x" * 60_000] * 20))
    ),
    Case("the end of the connection as end", (OK + TYPE + b"\r\n" + GOOD, CLOSE), (200,)),
]

BODIES = [
    Case("more than an answer may have", (_sized(b'"' + b"x" * 3_000_000 + b'"'),)),
    Case("more than an answer may have, in chunks", (_CHUNKS, *([chunk(b"x" * 60_000)] * 50))),
    Case("a mebibyte of brackets", (_sized(b"[" * 1_000_000),)),
    Case("deep choices", (_sized(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),)),
    Case("nothing", (_sized(b""),)),
    Case("null", (_sized(b"null"),)),
    Case("a list", (_sized(b"[]"),)),
    Case("HTML", (whole(200, b"<html>Welcome</html>", content_type="text/html"),)),
    Case("half an answer", (_sized(GOOD[:-20]),)),
    Case("no choices", (_sized(_with(choices=[])),)),
    Case("choices of text", (_sized(_with(choices="hi")),)),
    Case("an error that says 200", (_sized(b'{"error":{"message":"no"}}'),)),
    Case("vLLM's error that says 200", (_sized(b'{"object":"error","message":"no"}'),)),
    Case("a usage of text", (_sized(_with(usage="many")),), (200, 502)),
    Case(
        "a usage below zero",
        (_sized(_with(usage={"prompt_tokens": -5, "completion_tokens": 1e308})),),
        (200,),
    ),
    Case(
        "a usage of 5,000 digits",
        (_sized(GOOD.replace(b'"prompt_tokens": ', b'"prompt_tokens": ' + b"9" * 5_000)),),
        (200, 502),
    ),
    Case("a model that is a number", (_sized(_with(model=7)),), (200, 502)),
    Case("gzip that is none", (_sized(GOOD, b"Content-Encoding: gzip\r\n"),), (200, 502)),
    Case(
        "a gzip bomb of 200 MB",
        (_sized(_packed(bytes(1_000_000), 200), b"Content-Encoding: gzip\r\n"),),
        (200, 502),
    ),
    Case("a coding nobody knows", (_sized(GOOD, b"Content-Encoding: x\r\n"),), (200, 502)),
    Case("no content", (head(204),)),
    Case("not modified", (head(304),)),
]

STATUSES = [
    *(
        Case(
            f"redirect {code}", (head(code, "Location: http://127.0.0.1:9/", "Content-Length: 0"),)
        )
        for code in (301, 302, 303, 307, 308)
    ),
    Case(
        "a redirect to itself", (head(307, "Location: /v1/chat/completions", "Content-Length: 0"),)
    ),
    Case("401", (whole(401, b'{"error":{"message":"Incorrect API key sk-a"}}'),), (502,)),
    Case("403", (whole(403, b"{}"),), (502,)),
    Case(
        "400 with HTML",
        (whole(400, b"<script>alert(1)</script>", content_type="text/html"),),
        (400,),
        "refused",
    ),
    Case("400 with a text for an error", (whole(400, b'{"error":"no"}'),), (400,), "refused"),
    Case("400 with a deep body", (whole(400, b"[" * 100_000),), (400,), "refused"),
    Case(
        "400 with a body of 3 MB",
        (whole(400, b'{"error":{"message":"' + b"x" * 3_000_000 + b'"}}'),),
        (400, 502),
    ),
    Case("a teapot", (whole(418, b""),), (418,), "refused"),
    Case("a status of its own", (whole(499, b""),), (499,), "refused"),
    Case("500 with a secret", (whole(500, b"Traceback (most recent call last): 0xdeadbeef"),)),
    *(
        Case(
            f"429, retry after {value[:30]}", (whole(429, b"{}", f"Retry-After: {value}"),), (429,)
        )
        for value in (
            "-1",
            "nan",
            "1e9",
            "inf",
            "9" * 40,
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "soon",
            "\xff",
        )
    ),
    # It may be asked again at once.
    Case("429, retry after 0", (whole(429, b"{}", "Retry-After: 0"),), (200, 429)),
]

SLOW = [
    Case("nothing at all", (STALL,), (504,)),
    Case("half a head", (OK, STALL), (504,)),
    Case("a head, then nothing", (_CHUNKS, STALL), (504,)),
    Case("half a body", (OK + TYPE + b"Content-Length: 900\r\n\r\n{", STALL), (504,)),
    Case(
        "a head in drips",
        tuple(step for byte in OK * 9 for step in (bytes([byte]), Pause(0.03))),
        (502, 504),
    ),
    Case("a body in drips", (_CHUNKS, *_slowly(chunk(b" "), 0.05, 60)), (504,)),
]

GROUPS = {
    "heads": HEADS,
    "framings": FRAMINGS,
    "bodies": BODIES,
    "statuses": STATUSES,
    "waits": SLOW,
}


def _ask(worker: RunningWorker, upstream: FakeUpstream, steps: Iterable[Step], body: bytes) -> Wire:
    fixed = tuple(steps)
    upstream.default = lambda _: fixed
    wire = Wire(worker.port)
    try:
        wire.talk(post(body), answers=1)
    finally:
        wire.close()
    return wire


def _next_is_served(worker: RunningWorker, upstream: FakeUpstream) -> None:
    answer = _ask(worker, upstream, tuple(sound(_seen())), GOOD_BODY).heard.answers[0]
    assert answer.status == 200, answer


def _seen() -> SeenRequest:
    return SeenRequest("POST", "/v1/chat/completions", [], GOOD_BODY, 0.0, 0, json.loads(GOOD_BODY))


def _check_nothing_leaks(answer: Answer) -> None:
    said = repr(answer.headers).lower() + answer.body.decode("latin-1").lower()
    for secret in ("x-injected", "sk-a", "deadbeef", "<script", "set-cookie"):
        assert secret not in said


@pytest.mark.parametrize("group", GROUPS)
def test_a_plain_answer_gone_wrong_is_told(
    group: str, impatient: RunningWorker, upstream: FakeUpstream, subtests: pytest.Subtests
) -> None:
    """The contract's status in the error shape, never a 500; the next request is served."""
    for case in GROUPS[group]:
        with subtests.test(case.name):
            (answer,) = _ask(impatient, upstream, case.steps, GOOD_BODY).heard.answers
            assert answer.status in case.status, answer
            if answer.status >= 400:
                check_error(answer, says=case.says)
                _check_nothing_leaks(answer)
            if answer.status == 429:
                assert 1 <= int(answer.headers.get("retry-after", "1")) <= 86_400
            _next_is_served(impatient, upstream)


def _events(*parts: bytes) -> tuple[Step, ...]:
    return (STREAM_HEAD, *(chunk(part) for part in parts))


_TOKEN = event(piece(_seen(), content="hi"))
_STOP = event(piece(_seen(), finish_reason="stop"))

BEFORE = [
    Case("a line of 3 MB", _events(b"data: " + b"x" * 3_000_000, b"\n\n")),
    Case("a line without an end", _events(*[b"data: " + b"x" * 60_000] * 60)),
    Case(
        "comments without an end",
        (STREAM_HEAD, *_slowly(chunk(b": x\n\n"), 0.05, 60)),
        (504,),
    ),
    Case("a megabyte of comments", (*_events(b": x\n\n" * 200000), STALL), (502, 504)),
    Case("a megabyte of blank lines", (*_events(b"\n" * 1000000), STALL), (502, 504)),
    Case("fields that are none", _events(b"<html>\n\n")),
    Case(
        "bytes that are not UTF-8",
        (*_events(b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'), CLOSE),
        (200, 502),
    ),
    Case("deep JSON", _events(b"data: " + b"[" * 100_000 + b"\n\n")),
    Case("null", _events(b"data: null\n\n")),
    Case("an error first", _events(b'data: {"error":{"message":"no"}}\n\n')),
    Case("JSON instead of a stream", (_sized(b'{"error":{"message":"no"}}'),)),
    Case("HTML instead of a stream", (whole(200, b"<html></html>", content_type="text/html"),)),
    Case("nothing", (*_events(), chunk(b""))),
]

AFTER = [
    Case("a cut", (CLOSE,)),
    Case("a reset", (Pause(0.02), RESET)),
    Case("a stall", (STALL,)),
    Case("an end without a finish", (chunk(b""),)),
    Case("a line of 3 MB", (chunk(b"data: " + b"x" * 3_000_000 + b"\n\n"),)),
    Case("a line without an end", tuple([chunk(b"data: " + b"x" * 60_000)] * 60)),
    Case("an error", (chunk(b'data: {"error":{"message":"no"}}\n\n'),)),
    Case("a named error", (chunk(b'event: error\ndata: {"message":"no"}\n\n'),)),
    Case("null", (chunk(b"data: null\n\n"),)),
    Case("half of an object", (chunk(b'data: {"choices":[\n\n'),)),
    Case("HTML", (chunk(b"<html>502</html>\n\n"),)),
    Case("a bad chunk size", (b"zz\r\n",)),
    Case("comments without an end", _slowly(chunk(b": x\n\n"), 0.05, 60)),
    Case("deep JSON", (chunk(b"data: " + b"[" * 100_000 + b"\n\n"),)),
]


def test_a_stream_gone_wrong_before_content_is_told_by_status(
    impatient: RunningWorker, upstream: FakeUpstream, subtests: pytest.Subtests
) -> None:
    """Nothing was shown yet, so the client gets a real status."""
    for case in BEFORE:
        with subtests.test(case.name):
            (answer,) = _ask(impatient, upstream, case.steps, STREAM_BODY).heard.answers
            assert answer.status in case.status, answer
            if answer.status != 200:
                check_error(answer)
            _next_is_served(impatient, upstream)


def test_a_stream_gone_wrong_after_content_says_so(
    impatient: RunningWorker, upstream: FakeUpstream, subtests: pytest.Subtests
) -> None:
    """One error event ends it: no `[DONE]`, no finish reason that nobody gave."""
    for case in AFTER:
        steps = (*_events(_TOKEN), Pause(0.05), *case.steps)
        with subtests.test(case.name):
            (answer,) = _ask(impatient, upstream, steps, STREAM_BODY).heard.answers
            assert answer.status == 200
            last = answer.body.rstrip(b"\n").rpartition(b"\n\n")[2].removeprefix(b"data: ")
            assert set(json.loads(last)["error"]) == {"message", "type", "param", "code"}
            assert b"[DONE]" not in answer.body
            assert b'"finish_reason": "stop"' not in answer.body
            _next_is_served(impatient, upstream)


def test_a_second_answer_is_nobodys(impatient: RunningWorker, upstream: FakeUpstream) -> None:
    """What an upstream sends behind its answer never answers the next request."""
    spare = _sized(b'{"poisoned": true}')
    for _ in range(5):
        _ask(impatient, upstream, (_sized(GOOD) + spare,), GOOD_BODY)
        answer = _ask(impatient, upstream, (_sized(GOOD),), GOOD_BODY).heard.answers[0]
        assert b"poisoned" not in answer.body


def test_fields_of_an_answer_cannot_pass_for_ours(
    impatient: RunningWorker, upstream: FakeUpstream
) -> None:
    """Ids, cookies and connection fields of an upstream stay behind; ours stand once."""
    fields = (
        b"X-Driftgate-Id: fake\r\nX-Driftgate-Upstream: evil\r\nSet-Cookie: a=b\r\n"
        b"Connection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\nTrailer: x\r\n"
    )
    (answer,) = _ask(impatient, upstream, (_sized(GOOD, fields),), GOOD_BODY).heard.answers
    assert answer.status == 200
    assert answer.headers["x-driftgate-upstream"] == "a"
    assert len(answer.headers["x-driftgate-id"]) == 36
    assert not {"set-cookie", "x-secret", "keep-alive", "trailer"} & set(answer.headers)
