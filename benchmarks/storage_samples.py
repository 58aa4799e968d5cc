"""Records to write: plain ones of usual size, and chats that grow; and a spool full of them."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from router.clock import SystemClock
from storage.config import RecordConfig
from storage.ids import IdSource
from storage.records import Attempt, Begin, End, Payload, Prediction
from storage.spool import Spool

CLOCK = SystemClock()
TURNS = 20
_CHATS = 50
_VOCABULARY = 4_000
_QUESTION_WORDS, _ANSWER_WORDS = 130, 190
_TURN_WORDS, _REPLY_WORDS = 30, 90


class Writer:
    """Prose of a language of its own: words as frequent as Zipf's law says, so that it packs."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        letters = "etaoinshrdlucmfwyp"
        self._words = [
            "".join(self._draw.choices(letters, k=self._draw.randint(2, 9)))
            for _ in range(_VOCABULARY)
        ]
        self._weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(_VOCABULARY)))

    def prose(self, words: int) -> str:
        """Return so many words."""
        return " ".join(self._draw.choices(self._words, cum_weights=self._weights, k=words))


def plain(count: int, seed: int = 1) -> list[End]:
    """Return records of one question and one answer: about 2.9 kB encoded."""
    ids, writer = IdSource(CLOCK.now_us), Writer(seed)
    return [
        record(
            ids.new_id(),
            [{"role": "user", "content": writer.prose(_QUESTION_WORDS)}],
            writer.prose(_ANSWER_WORDS),
        )
        for _ in range(count)
    ]


def chats(count: int, seed: int = 2) -> list[End]:
    """Return records of chats of 20 turns, 50 at a time: each sends all that was said before."""
    ids, writer = IdSource(CLOCK.now_us), Writer(seed)
    open_chats: list[list[dict[str, str]]] = [[] for _ in range(_CHATS)]
    found = []
    for number in range(count):
        said = open_chats[number % _CHATS]
        if len(said) >= 2 * TURNS:
            said.clear()
        if not said:
            said.append({"role": "system", "content": writer.prose(_QUESTION_WORDS)})
        said.append({"role": "user", "content": writer.prose(_TURN_WORDS)})
        reply = writer.prose(_REPLY_WORDS)
        found.append(record(ids.new_id(), said, reply))
        said.append({"role": "assistant", "content": reply})
    return found


def record(identity: str, messages: Sequence[dict[str, str]], reply: str) -> End:
    """Return the record of one answered chat request."""
    request = json.dumps({"model": "chat", "messages": messages}).encode()
    choice = {"index": 0, "message": {"role": "assistant", "content": reply}}
    answer = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
    now = CLOCK.now_us()
    facts = Prediction(
        id=identity,
        started_at=now,
        route="chat",
        variant="primary",
        upstream="primary",
        model_asked="chat",
        protocol="openai",
        operation="chat",
        tenant="default",
        status=200,
        latency_s=0.5 + now % 1000 / 1000,
        upstream_s=0.499 + now % 1000 / 1000,
        overhead_s=0.001,
        attempts=1,
        prompt_tokens=len(request) // 4,
        response_tokens=len(answer) // 4,
        ttft_s=0.2,
        finish_reason="stop",
        request_bytes=len(request),
        response_bytes=len(answer),
        trace_id=identity.replace("-", ""),
    )
    attempt = Attempt(1, "primary", now, facts.upstream_s, 200)
    return End(facts, (attempt,), Payload(request, answer))


def without_text(records: Sequence[End]) -> list[End]:
    """Return the same records as `record.payloads: none` writes them."""
    return [End(one.prediction, one.attempts) for one in records]


def begin(end: End) -> Begin:
    """Return the BEGIN of a record."""
    p = end.prediction
    return Begin(
        p.id,
        p.started_at,
        p.route,
        p.variant,
        p.upstream,
        p.model_asked,
        p.protocol,
        p.operation,
        p.tenant,
    )


def spool_us(directory: Path, records: Sequence[End], turn: int, *, begins: bool = True) -> float:
    """Spool each record, `turn` requests to a turn of the event loop.

    Returns
    -------
    float
        CPU a record in microseconds, all threads.
    """

    async def run() -> float:
        spool = Spool.open(directory, worker="bench", config=RecordConfig(), now_us=CLOCK.now_us)
        # What opening left to do in threads is not a record's.
        await asyncio.sleep(0.05)
        before_s = time.process_time()
        for start in range(0, len(records), turn):
            part = records[start : start + turn]
            if begins:
                for one in part:
                    spool.begin(begin(one))
                await spool.flushed()
            for one in part:
                spool.end(one)
            await spool.flushed()
        spent_s = time.process_time() - before_s
        spool.close()
        return spent_s / len(records) * 1e6

    return uvloop.run(run())
