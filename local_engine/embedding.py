"""Embeddings: the normalised mean of a text's last hidden states."""

import asyncio
import math

from local_engine.errors import EngineError
from local_engine.native import Batch, EmbeddingContext, Model


class EmbeddingJob:
    """Texts of one request, embedded one at a time between generation steps."""

    def __init__(self, texts: list[list[int]]) -> None:
        self.cancelled = False
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[list[list[float]]] = self._loop.create_future()
        self._texts = texts
        self._vectors: list[list[float]] = []

    def advance(self, embedder: "Embedder") -> bool:
        """Embed one text; True when all are done. Called from the engine's thread."""
        try:
            self._vectors.append(embedder.embed(self._texts[len(self._vectors)]))
        except EngineError as error:
            self.fail(error)
            return True
        if len(self._vectors) < len(self._texts):
            return False
        self._deliver(self._vectors)
        return True

    def fail(self, error: EngineError) -> None:
        """End it with an error."""
        self._deliver(error)

    def _deliver(self, outcome: list[list[float]] | EngineError) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: list[list[float]] | EngineError) -> None:
        if self.result.done():
            return
        if isinstance(outcome, EngineError):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class Embedder:
    """Owns the second context, made when the first text comes."""

    def __init__(self, model: Model, *, max_tokens: int, threads: int) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._threads = threads
        self._context: EmbeddingContext | None = None
        self._batch = Batch(max_tokens)

    def embed(self, tokens: list[int]) -> list[float]:
        """Return the vector of a text, of length 1."""
        if self._context is None:
            self._context = EmbeddingContext(self._model, tokens=self._max_tokens)
            self._context.set_threads(self._threads)
        self._context.forget(0)
        self._batch.clear()
        for position, token in enumerate(tokens):
            self._batch.add(token, position=position, sequence=0, output=True)
        self._context.decode(self._batch)
        return normalised(self._context.pooled())

    def close(self) -> None:
        """Free the context."""
        self._batch.close()
        if self._context is not None:
            self._context.close()


def normalised(vector: list[float]) -> list[float]:
    """Scale a vector to Euclidean length 1; a zero vector stays."""
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length > 0 else vector
