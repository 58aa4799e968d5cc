"""Embeddings of recorded texts: drawn, asked for, projected, written to the log as inputs.

Off unless `monitors.embeddings` names a route. What is asked is bounded by its `sample` a look, and
nothing waits for it: it has a thread of its own, and the data plane takes it as any client.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.config import Settings
from gateway.embedding_call import BATCH, EmbeddingCalls
from gateway.embedding_sample import EmbeddingSample, Of, Sampled
from gateway.embeddings import Projector
from gateway.errors import EmbeddingFailed
from monitors.embeddings.config import EmbeddingConfig
from monitors.embeddings.names import Group
from monitors.schedule import next_run_at
from router.clock import Clock
from storage.late import LateInputs
from storage.records import End

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""Time of one look's requests, all routes together; what is left of its sample is let go."""
_MAX_WAIT_S = 1.0
_IDLE_S = 5.0
_GROUPS: Mapping[Of, Group] = {"prompt": "prompt_embedding", "answer": "answer_embedding"}

Write = Callable[[Sequence[LateInputs]], int]


class EmbeddingStatistics(NamedTuple):
    """Since the start.

    Attributes
    ----------
    embedded : int
        Predictions whose embeddings are in the log.
    failed : int
        Predictions that were drawn and got none.
    """

    embedded: int = 0
    failed: int = 0


class EmbeddingWork:
    """One turn after the other, all in the embeddings' thread.

    Parameters
    ----------
    sample : EmbeddingSample
        Holds what the ingest shows to `observe`.
    tell : callable
        Takes route, and how many predictions were embedded and failed.
    """

    def __init__(
        self,
        sample: EmbeddingSample,
        settings: Settings,
        clock: Clock,
        *,
        tell: Callable[[str, EmbeddingStatistics], None],
    ) -> None:
        self._sample = sample
        self._clock = clock
        self._tell = tell
        self._failing: set[str] = set()
        self._totals = EmbeddingStatistics()
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Take another configuration from the next turn on."""
        monitors = settings.monitors
        chosen = monitors.embeddings if monitors.enabled else {}
        self._sample.reconfigure(chosen)
        self._plan = (settings.gateway.listen, chosen, monitors.every)
        self._due_us = next_run_at(self._clock.now_us(), monitors.every)

    def statistics(self) -> EmbeddingStatistics:
        """Return totals since this object was made."""
        return self._totals

    def observe(self, ends: Sequence[End]) -> None:
        """Take records that were written; called from the ingest's thread."""
        self._sample.observe(ends, self._clock.now_us())

    def turn(self, write: Write) -> float:
        """Embed what was drawn since the last look if it is time; return the seconds to wait.

        Parameters
        ----------
        write : callable
            Adds inputs to predictions of the log; returns how many of them are still there.

        Raises
        ------
        StorageError
            Embeddings could not be written; their sample is lost, the next one is not.
        """
        now_us = self._clock.now_us()
        listen, chosen, every_s = self._plan
        if not chosen:
            return _IDLE_S
        is_due = now_us >= self._due_us
        # Also after a clock that was set back; before the look, which may fail: another one at
        # once would ask for more than one sample.
        if not now_us < self._due_us <= next_run_at(now_us, every_s):
            self._due_us = next_run_at(now_us, every_s)
        if is_due:
            self._look(listen, chosen, write)
        return min(_MAX_WAIT_S, max(0.0, (self._due_us - self._clock.now_us()) / 1e6))

    def _look(self, listen: str, chosen: Mapping[str, EmbeddingConfig], write: Write) -> None:
        taken = self._sample.take()
        until_s = self._clock.monotonic() + LOOK_S
        with EmbeddingCalls(listen) as calls:
            for route, sampled in taken.items():
                config = chosen.get(route)
                if config is not None:
                    rows = self._rows(route, config, sampled, (calls, until_s))
                    self._count(route, write(rows) if rows else 0, len(sampled) - len(rows))

    def _rows(
        self,
        route: str,
        config: EmbeddingConfig,
        sampled: Sequence[Sampled],
        by: tuple[EmbeddingCalls, float],
    ) -> list[LateInputs]:
        """Return what was embedded; what a server fails at once it is not asked again."""
        calls, until_s = by
        projector = Projector()
        rows: list[LateInputs] = []
        failure: EmbeddingFailed | None = None
        for part in _parts(sampled, len(config.of)):
            try:
                if self._clock.monotonic() >= until_s:
                    raise EmbeddingFailed(f"the sample took more than {LOOK_S:.0f} s")
                rows += _embedded(part, config, calls, projector)
            except EmbeddingFailed as error:
                failure = error
                if not error.of_texts:
                    break
        if failure is None:
            self._works(route)
        else:
            self._failed(route, config, failure)
        return rows

    def _failed(self, route: str, config: EmbeddingConfig, error: EmbeddingFailed) -> None:
        if route not in self._failing:
            log.error(
                "not all texts of route `%s` are embedded, route `%s` gives no embeddings: %s"
                " (told once; it is tried again at each look)",
                route,
                config.by,
                error,
            )
        self._failing.add(route)

    def _works(self, route: str) -> None:
        if route in self._failing:
            log.warning("all texts of route `%s` are embedded again", route)
        self._failing.discard(route)

    def _count(self, route: str, embedded: int, failed: int) -> None:
        totals = self._totals
        self._totals = EmbeddingStatistics(totals.embedded + embedded, totals.failed + failed)
        self._tell(route, EmbeddingStatistics(embedded, failed))


def _parts(sampled: Sequence[Sampled], texts: int) -> Iterator[Sequence[Sampled]]:
    """Yield predictions for one request each; a prediction's texts stay together."""
    size = max(1, BATCH // texts)
    for first in range(0, len(sampled), size):
        yield sampled[first : first + size]


def _embedded(
    part: Sequence[Sampled], config: EmbeddingConfig, calls: EmbeddingCalls, projector: Projector
) -> list[LateInputs]:
    asked = [(one, of) for one in part for of in config.of]
    vectors = calls.embed([one.texts[of] for one, of in asked], config)
    rows = {one.prediction.id: LateInputs(one.prediction, {}) for one in part}
    for (one, of), vector in zip(asked, vectors, strict=True):
        rows[one.prediction.id].inputs.update(projector.row(vector, _GROUPS[of]))
    return list(rows.values())
