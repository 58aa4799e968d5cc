import json
from typing import Any

from support.log_records import end_of

from gateway.enrich import enrich
from storage.records import Payload

REQUEST = json.dumps({"model": "m", "messages": [{"content": "How are you?"}]}).encode()
ANSWER = json.dumps({"choices": [{"message": {"content": "Fine, thanks."}}]}).encode()


def signals(payload: Payload | None, **facts: Any) -> tuple[int | None, int | None]:
    """Return the lengths found in one record."""
    one = end_of(1, **facts)
    (found,) = enrich([type(one)(one.prediction, one.attempts, payload)])
    assert found.id == one.prediction.id
    return found.prompt_chars, found.response_chars


def test_texts_are_measured() -> None:
    """The lengths are those of the words, not of the JSON around them."""
    assert signals(Payload(REQUEST, ANSWER)) == (12, 13)


def test_streamed_text_is_measured() -> None:
    """A streamed answer is measured as the text it makes."""
    texts = ("Fi", "ne")
    body = b"".join(
        b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % text.encode() for text in texts
    )
    assert signals(Payload(REQUEST, body, response_type="text/event-stream")) == (12, 4)


def test_text_that_was_not_kept_is_unknown() -> None:
    """Without text nothing is made up."""
    assert signals(None) == (None, None)


def test_cut_text_is_unknown() -> None:
    """A part of a prompt or answer would look like drift, so it counts as unknown."""
    assert signals(Payload(REQUEST, ANSWER, request_truncated=True)) == (None, 13)
    assert signals(Payload(REQUEST, ANSWER, response_truncated=True)) == (12, None)


def test_errors_text_is_no_answer() -> None:
    """What a failed request was told is not what a model said."""
    assert signals(Payload(REQUEST, ANSWER), status=502) == (12, None)


def test_cut_streams_text_is_unknown() -> None:
    """A stream that died had status 200; what came of its text is not the answer."""
    assert signals(Payload(REQUEST, ANSWER), reason="stream_interrupted") == (12, None)


def test_order_is_kept() -> None:
    """Each record has its signals, in the order of the records."""
    ends = [end_of(number) for number in range(5)]
    assert [one.id for one in enrich(ends)] == [one.prediction.id for one in ends]
