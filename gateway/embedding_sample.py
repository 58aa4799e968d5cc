"""Which predictions' texts are embedded: a bounded draw of what the ingest has just written."""

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from gateway.embeddings import OPERATION
from gateway.protocols.table import protocol_named
from monitors.embeddings.config import EmbeddingConfig
from storage.records import End, Prediction

OLDEST_US = 600_000_000
"""Records that started longer ago come from a spool that is read anew: they had their turn."""

Of = Literal["prompt", "answer"]


class Sampled(NamedTuple):
    """A prediction that was drawn, and the texts that are asked for, by what they are."""

    prediction: Prediction
    texts: dict[Of, str]


class SampleStatistics(NamedTuple):
    """Since the start: predictions that could be drawn, and those that wait to be taken."""

    seen: int
    waiting: int


class EmbeddingSample:
    """A reservoir for each configured route; filled by the ingest's thread, emptied by another.

    What it holds is lost in a restart, and is no more than one look's sample: each prediction is
    drawn from once, and one that is not embedded is missed by nobody.

    Parameters
    ----------
    rng : random.Random
        Draws.
    """

    def __init__(self, rng: random.Random) -> None:
        self._lock = threading.Lock()
        self._rng = rng
        self._chosen: Mapping[str, EmbeddingConfig] = {}
        self._kept: dict[str, list[End]] = {}
        self._met: dict[str, int] = {}
        self._seen = 0

    def reconfigure(self, chosen: Mapping[str, EmbeddingConfig]) -> None:
        """Draw for other routes from now on; what was drawn for others is let go."""
        with self._lock:
            self._chosen = chosen
            self._kept = {name: kept for name, kept in self._kept.items() if name in chosen}

    def observe(self, ends: Sequence[End], now_us: int) -> None:
        """Take records that were written; each stays with the same chance (Vitter's algorithm R).

        Holds at most `sample` records of a route, each of `record.max_payload_bytes` a body.
        """
        if not self._chosen:
            return
        with self._lock:
            for end in ends:
                config = self._chosen.get(end.prediction.route)
                if config is not None and _may_have_text(end, now_us):
                    self._draw(end, config.sample)

    def _draw(self, end: End, size: int) -> None:
        route = end.prediction.route
        kept = self._kept.setdefault(route, [])
        self._met[route] = self._met.get(route, 0) + 1
        self._seen += 1
        if len(kept) < size:
            kept.append(end)
            return
        place = self._rng.randrange(self._met[route])
        if place < size:
            kept[place] = end

    def take(self) -> dict[str, list[Sampled]]:
        """Return what was drawn since the last time, by route, and begin anew."""
        with self._lock:
            kept, self._kept, self._met = self._kept, {}, {}
            chosen = self._chosen
        found = {
            route: [one for end in ends if (one := _sampled(end, chosen[route])) is not None]
            for route, ends in kept.items()
            if route in chosen
        }
        return {route: sampled for route, sampled in found.items() if sampled}

    def statistics(self) -> SampleStatistics:
        """Return totals."""
        with self._lock:
            return SampleStatistics(self._seen, sum(map(len, self._kept.values())))


def _may_have_text(end: End, now_us: int) -> bool:
    prediction = end.prediction
    # What asks for an embedding has one: another of the same text would be a row without the first.
    if prediction.role != "primary" or prediction.operation == OPERATION:
        return False
    return end.payload is not None and prediction.started_at >= now_us - OLDEST_US


def _sampled(end: End, config: EmbeddingConfig) -> Sampled | None:
    """Return what is embedded of a record; None where one of its texts is not there.

    Half of it would look like embeddings that went missing.
    """
    texts = {of: _text(end, of) for of in config.of}
    # What came last is what a conversation is about now.
    cut = {of: text[-config.max_chars :] for of, text in texts.items() if text is not None}
    return Sampled(end.prediction, cut) if len(cut) == len(texts) else None


def _text(end: End, of: Of) -> str | None:
    """Return a text as it was recorded, redacted; None where there is none, or a part of one."""
    payload, prediction = end.payload, end.prediction
    if payload is None:
        return None
    texts = protocol_named(prediction.protocol).texts
    if of == "prompt":
        asked = None if payload.request_truncated else texts.asked(payload.request)
        found = None if asked is None else asked.prompt
    elif prediction.status >= 400 or prediction.reason is not None or payload.response_truncated:
        return None
    else:
        found = texts.answer(payload.response, payload.response_type)
    return found if found and not found.isspace() else None
