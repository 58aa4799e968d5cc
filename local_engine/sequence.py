"""The state of one request while it holds a slot. Used by the engine's thread only."""

from local_engine.batching import Need
from local_engine.errors import EngineError
from local_engine.generation import FinishReason, Generation, GenerationEvent, GenerationRequest
from local_engine.native import Model
from local_engine.sampling import Sampler
from local_engine.stop import TextAssembler


class Sequence:
    """Tokens evaluated and pending, the sampler, and the text that is being put together.

    Parameters
    ----------
    request : GenerationRequest
    generation : Generation
        Where events go.
    max_tokens : int
        At least 1, already bounded by the context.
    """

    def __init__(
        self, request: GenerationRequest, generation: Generation, *, max_tokens: int
    ) -> None:
        self.generation = generation
        self.pending = list(request.prompt)
        self.position = 0
        self.generated = 0
        self.cancelled = False
        self.finished = False
        self._sampling = request.sampling
        self._max_tokens = max_tokens
        self._text = TextAssembler(request.stops)
        self._sampler: Sampler | None = None

    def need(self, slot: int) -> Need:
        """Return what it could put into a batch."""
        return Need(slot, len(self.pending), generating=self._sampler is not None)

    def take(self, count: int) -> list[tuple[int, int]]:
        """Return the next tokens to evaluate with their positions."""
        first = self.position
        taken = [(token, first + index) for index, token in enumerate(self.pending[:count])]
        del self.pending[:count]
        self.position += count
        return taken

    def sample(self, model: Model, context: object, index: int) -> None:
        """Draw the next token from output `index` and deliver what it adds."""
        if self._sampler is None:
            self._sampler = Sampler(self._sampling, vocabulary_size=model.vocabulary_size)
        token = self._sampler.sample(context, index)
        if model.ends_generation(token):
            self._end("stop", self._text.finish())
            return
        self.generated += 1
        text = self._text.feed(model.piece(token))
        if self._text.stopped:
            self._end("stop", text)
        elif self.generated >= self._max_tokens:
            text += self._text.finish()
            self._end("stop" if self._text.stopped else "length", text)
        else:
            self.pending.append(token)
            if text:
                self.generation.deliver(GenerationEvent(text, self.generated, None))

    def fail(self, error: EngineError) -> None:
        """End it with an error."""
        if not self.finished:
            self.finished = True
            self.generation.deliver(error)

    def close(self) -> None:
        """Free the sampler."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None

    def _end(self, reason: FinishReason, text: str) -> None:
        self.finished = True
        self.generation.deliver(GenerationEvent(text, self.generated, reason))
