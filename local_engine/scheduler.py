"""Continuous batching: one thread owns the llama.cpp context and serves all slots in one batch.

Each step evaluates one token of every running answer and a bounded piece of waiting prompts,
so requests join and leave between steps. Other threads only put requests into the admission
table, under one lock; results go out through `Generation.deliver`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from local_engine.batching import plan_batch
from local_engine.config import EngineConfig
from local_engine.embedding import Embedder, EmbeddingJob
from local_engine.errors import ComputeFailed, EngineBusy, EngineClosed, EngineError
from local_engine.native import Batch, Context, Model
from local_engine.sequence import Sequence
from local_engine.slots import Slots

logger = logging.getLogger(__name__)

_RATE_STEPS = 64  # steps the token rate is taken over


class SchedulerStatistics(NamedTuple):
    """A moment of the scheduler.

    Attributes
    ----------
    slots, slots_busy, waiting : int
    embeddings_waiting : int
        Embedding requests not finished.
    tokens_total, cancelled_total, failed_total : int
        Since the start: tokens drawn, requests cancelled, requests lost to an error.
    tokens_per_s : float
        Over the last steps that generated; 0 before the first.
    step_age_s : float
        How long the present step has been running; 0 when idle. A watchdog looks at this.
    """

    slots: int
    slots_busy: int
    waiting: int
    embeddings_waiting: int
    tokens_total: int
    cancelled_total: int
    failed_total: int
    tokens_per_s: float
    step_age_s: float


class Scheduler:
    """Runs sequences until they finish, fail or are cancelled."""

    def __init__(
        self,
        model: Model,
        config: EngineConfig,
        *,
        threads: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._config = config
        self._monotonic = monotonic
        self._context = Context(
            model,
            sequences=config.slots,
            tokens=config.context_tokens,
            batch_tokens=config.batch_tokens,
        )
        self._context.set_threads(threads)
        self.context_tokens = self._context.tokens
        self._batch = Batch(config.batch_tokens)
        self._embedder = Embedder(model, max_tokens=config.embedding_tokens, threads=threads)
        self._changed = threading.Condition()
        self._slots: Slots[Sequence] = Slots(config.slots, max_waiting=config.max_queue)
        self._jobs: deque[EmbeddingJob] = deque()
        self._closing = False
        self._tokens_total = 0
        self._cancelled_total = 0
        self._failed_total = 0
        self._rates: deque[tuple[int, float]] = deque(maxlen=_RATE_STEPS)
        self._step_started_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="llama", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Let a sequence run as soon as a slot is free.

        Raises
        ------
        EngineBusy, EngineClosed
        """
        with self._changed:
            self._check_open()
            if not self._slots.offer(sequence):
                raise EngineBusy(
                    f"{self._slots.busy} requests run in the embedded engine and"
                    f" {self._slots.waiting} wait; `engine.max_queue` allows no more"
                )
            self._changed.notify()

    def embed(self, job: EmbeddingJob) -> None:
        """Let a job run between steps.

        Raises
        ------
        EngineBusy, EngineClosed
        """
        with self._changed:
            self._check_open()
            if len(self._jobs) > self._config.max_queue:
                raise EngineBusy(f"{len(self._jobs)} embedding requests wait; no more may")
            self._jobs.append(job)
            self._changed.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Stop a sequence; its slot is free within one step. Does nothing if it has finished."""
        with self._changed:
            if sequence.finished or sequence.cancelled:
                return
            sequence.cancelled = True
            self._cancelled_total += 1
            self._slots.withdraw(sequence)
            self._changed.notify()

    def statistics(self) -> SchedulerStatistics:
        """Return the numbers of this moment."""
        with self._changed:
            started = self._step_started_s
            tokens = sum(count for count, _ in self._rates)
            spent_s = sum(duration for _, duration in self._rates)
            return SchedulerStatistics(
                slots=self._config.slots,
                slots_busy=self._slots.busy,
                waiting=self._slots.waiting,
                embeddings_waiting=len(self._jobs),
                tokens_total=self._tokens_total,
                cancelled_total=self._cancelled_total,
                failed_total=self._failed_total,
                tokens_per_s=tokens / spent_s if spent_s > 0 else 0.0,
                step_age_s=0.0 if started is None else self._monotonic() - started,
            )

    def close(self, *, timeout_s: float) -> bool:
        """End the thread after its present step and free the context.

        Whatever still runs or waits fails with `EngineClosed`. Returns False when the step did
        not end in time: the context is then still in use and is left alone.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _check_open(self) -> None:
        if self._closing:
            raise EngineClosed("the embedded engine is shutting down")

    def _run(self) -> None:
        while self._wait_for_work():
            with self._changed:
                self._step_started_s = self._monotonic()
                running = self._slots.running
            # The loop must outlive whatever one step runs into; the requests are told.
            try:
                self._step(running)
            except ComputeFailed as error:
                self._fail(running, error)
            except Exception as error:
                logger.exception("a step of the embedded engine failed")
                internal = ComputeFailed(f"internal error: {type(error).__name__}")
                self._fail(running, internal)
                self._fail_job(internal)
            self._sweep(running)
        self._free()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._step_started_s = None
            while not self._closing:
                self._slots.admit()
                if self._slots.busy or self._jobs:
                    return True
                self._changed.wait()
            return False

    def _step(self, running: dict[int, Sequence]) -> None:
        live = {slot: seq for slot, seq in running.items() if not seq.cancelled}
        if live:
            self._decode(live)
        job = self._jobs[0] if self._jobs else None
        if job is not None and (job.cancelled or job.advance(self._embedder)):
            self._drop_job()

    def _drop_job(self) -> None:
        with self._changed:
            if self._jobs:
                self._jobs.popleft()

    def _decode(self, live: dict[int, Sequence]) -> None:
        started_s = self._monotonic()
        needs = [sequence.need(slot) for slot, sequence in live.items()]
        outputs: list[tuple[int, Sequence]] = []
        self._batch.clear()
        for share in plan_batch(needs, capacity=self._batch.capacity):
            index = -1
            taken = live[share.slot].take(share.tokens)
            for token, position in taken:
                last = share.output and position == taken[-1][1]
                index = self._batch.add(token, position=position, sequence=share.slot, output=last)
            if share.output:
                outputs.append((index, live[share.slot]))
        self._context.decode(self._batch)
        for index, sequence in outputs:
            sequence.sample(self._model, self._context.handle, index)
        with self._changed:
            self._tokens_total += len(outputs)
            if outputs:
                self._rates.append((len(outputs), self._monotonic() - started_s))

    def _fail(self, running: dict[int, Sequence], error: EngineError) -> None:
        failed = [sequence for sequence in running.values() if not sequence.finished]
        with self._changed:
            self._failed_total += len(failed)
        for sequence in failed:
            sequence.fail(error)

    def _fail_job(self, error: EngineError) -> None:
        # Whichever job was under way, or it would be tried again for ever.
        if self._jobs:
            self._jobs[0].fail(error)
            self._drop_job()

    def _sweep(self, running: dict[int, Sequence]) -> None:
        over = {slot: seq for slot, seq in running.items() if seq.finished or seq.cancelled}
        for slot, sequence in over.items():
            self._context.forget(slot)
            sequence.close()
        with self._changed:
            for slot in over:
                self._slots.release(slot)

    def _free(self) -> None:
        closed = EngineClosed("the embedded engine was shut down")
        with self._changed:
            sequences = self._slots.empty()
            jobs = list(self._jobs)
            self._jobs.clear()
        for sequence in sequences:
            sequence.fail(closed)
            sequence.close()
        for job in jobs:
            job.fail(closed)
        self._embedder.close()
        self._batch.close()
        self._context.close()
