"""The embedded engine: a model file, loaded, that generates for many at once."""

import logging
import time
from collections.abc import Sequence as Messages
from pathlib import Path
from typing import NamedTuple, Self

from local_engine.config import EngineConfig
from local_engine.device import Device, choose_device
from local_engine.embedding import EmbeddingJob
from local_engine.errors import InvalidParameter, PromptTooLong
from local_engine.generation import Generation, GenerationRequest
from local_engine.models import ModelFile
from local_engine.native import Model
from local_engine.scheduler import Scheduler, SchedulerStatistics
from local_engine.sequence import Sequence
from local_engine.templates import CHARACTERS_PER_TOKEN, ChatTemplate, Message

logger = logging.getLogger(__name__)


class EngineStatistics(NamedTuple):
    """What the engine is and does.

    Attributes
    ----------
    model, description, path, digest : str
        Name, llama.cpp's words for it, file, SHA-256 of the file.
    device : str
        Where it computes.
    load_s : float
        How long loading took.
    weights_bytes, context_tokens, embedding_size : int
        Size of the weights, of a slot, of an embedding vector.
    scheduler : SchedulerStatistics
    """

    model: str
    description: str
    path: str
    digest: str
    device: str
    load_s: float
    weights_bytes: int
    context_tokens: int
    embedding_size: int
    scheduler: SchedulerStatistics


class Engine:
    """Use `Engine.load`; call `close` at the end. Methods are for the event loop's thread."""

    def __init__(self, model: Model, file: ModelFile, device: Device, config: EngineConfig) -> None:
        self.file = file
        self.device = device
        self.load_s = 0.0
        self._config = config
        self._model = model
        context_tokens = min(config.context_tokens, model.train_tokens)
        self._template = ChatTemplate(
            model.chat_template,
            bos=model.special_text("bos"),
            eos=model.special_text("eos"),
            limit_tokens=context_tokens,
        )
        self._scheduler = Scheduler(
            model,
            config.model_copy(update={"context_tokens": context_tokens}),
            threads=device.threads,
        )
        self.context_tokens = self._scheduler.context_tokens

    @classmethod
    def load(cls, config: EngineConfig, file: ModelFile) -> Self:
        """Load a model; takes from tenths of a second to minutes, so call it in a thread.

        Raises
        ------
        EngineUnavailable, ModelInvalid, ComputeFailed
        """
        started_s = time.monotonic()
        device = choose_device(gpu_layers=config.gpu_layers, threads=config.threads)
        model = Model(file.path, gpu_layers=device.gpu_layers)
        try:
            engine = cls(model, file, device, config)
        except BaseException:
            model.close()
            raise
        engine.load_s = time.monotonic() - started_s
        logger.info(
            "loaded %s (%s) on %s with %d threads in %.2f s; devices: %s",
            file.name,
            model.description,
            device.name,
            device.threads,
            engine.load_s,
            ", ".join(device.backends),
        )
        return engine

    def render(self, messages: Messages[Message]) -> str:
        """Return the prompt of a chat, by the model's own template.

        Raises
        ------
        InvalidParameter, PromptTooLong
        """
        return self._template.render(messages)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of a text; thread-safe, linear in its length.

        With `special`, the names of control tokens in it become these tokens, as in every prompt
        that a template wrote.

        Raises
        ------
        PromptTooLong
            It is so long that its tokens need not be counted.
        """
        if len(text) > self.context_tokens * CHARACTERS_PER_TOKEN:
            raise PromptTooLong(limit_tokens=self.context_tokens - 1)
        return self._model.tokenize(text, special=special)

    def submit(self, request: GenerationRequest) -> Generation:
        """Start a generation and return its events; must be called in a running event loop.

        Raises
        ------
        PromptTooLong
            No room is left for one token of an answer.
        InvalidParameter
            The prompt is empty.
        EngineBusy, EngineClosed
        """
        count = len(request.prompt)
        if count == 0:
            raise InvalidParameter("the prompt is empty", param="prompt")
        if count >= self.context_tokens:
            raise PromptTooLong(prompt_tokens=count, limit_tokens=self.context_tokens - 1)
        wanted = request.max_tokens or self._config.default_output_tokens
        generation = Generation(
            prompt_tokens=count, cancel=lambda: self._scheduler.cancel(sequence)
        )
        sequence = Sequence(
            request, generation, max_tokens=min(wanted, self.context_tokens - count)
        )
        self._scheduler.submit(sequence)
        return generation

    async def embed(self, texts: list[list[int]]) -> list[list[float]]:
        """Return one vector of length 1 for each text, given as tokens.

        Raises
        ------
        PromptTooLong
            A text has more than `engine.embedding_tokens` tokens.
        InvalidParameter
            A text is empty, or there is none.
        EngineBusy, EngineClosed, ComputeFailed
        """
        limit = min(self._config.embedding_tokens, self._model.train_tokens)
        if not texts or not all(texts):
            raise InvalidParameter("`input` must be non-empty texts", param="input")
        longest = max(len(tokens) for tokens in texts)
        if longest > limit:
            raise PromptTooLong(
                prompt_tokens=longest, limit_tokens=limit, setting="engine.embedding_tokens"
            )
        job = EmbeddingJob(texts)
        self._scheduler.embed(job)
        try:
            return await job.result
        finally:
            job.cancelled = True

    def statistics(self) -> EngineStatistics:
        """Return what the engine is and does now."""
        return EngineStatistics(
            model=self.file.name,
            description=self._model.description,
            path=str(Path(self.file.path)),
            digest=self.file.digest,
            device=self.device.name,
            load_s=self.load_s,
            weights_bytes=self._model.weights_bytes,
            context_tokens=self.context_tokens,
            embedding_size=self._model.embedding_size,
            scheduler=self._scheduler.statistics(),
        )

    def close(self, *, timeout_s: float = 10.0) -> bool:
        """Free everything; False when a step did not end in time and memory had to be left."""
        if not self._scheduler.close(timeout_s=timeout_s):
            logger.error("the embedded engine did not stop within %.1f s", timeout_s)
            return False
        self._model.close()
        return True
