"""How the next token is drawn: checked parameters, and the llama.cpp sampler they make."""

import math
from dataclasses import dataclass
from typing import Any

from local_engine.errors import InvalidParameter
from local_engine.native import library

MAX_SEED = 2**32 - 1
PENALTY_WINDOW_TOKENS = 64  # how far back repetition is looked for, llama.cpp's default


@dataclass(slots=True, frozen=True)
class Sampling:
    """Parameters of one request.

    Attributes
    ----------
    temperature : float
        0..2; 0 always takes the most probable token.
    top_p : float
        Above 0, up to 1; share of the probability mass kept.
    top_k : int
        0..1000; tokens kept, 0 for all.
    min_p : float
        0..1; tokens less probable than this share of the best are dropped.
    repeat_penalty : float
        0.5..2; 1 is none.
    frequency_penalty, presence_penalty : float
        -2..2; 0 is none.
    seed : int
        0..2^32 - 1. The same seed gives the same text when the engine is otherwise idle; a
        different mix of requests in a batch changes the last bits of the arithmetic.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 40
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that must not reach C.

        Raises
        ------
        InvalidParameter
        """
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not math.isfinite(value) or not low <= value <= high:
                raise InvalidParameter(
                    f"`{name}` is {value}; it must be from {low:g} to {high:g}", param=name
                )
        if self.top_p == 0:
            raise InvalidParameter("`top_p` is 0; it must be above 0, up to 1", param="top_p")

    @property
    def penalises(self) -> bool:
        """Say whether what was said before changes what is said next."""
        neutral = (self.repeat_penalty, self.frequency_penalty, self.presence_penalty)
        return neutral != (1.0, 0.0, 0.0)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("top_k", 0, 1000),
    ("min_p", 0, 1),
    ("repeat_penalty", 0.5, 2),
    ("frequency_penalty", -2, 2),
    ("presence_penalty", -2, 2),
    ("seed", 0, MAX_SEED),
)


class Sampler:
    """A llama.cpp sampler chain; used and closed by the thread that owns the context."""

    def __init__(self, sampling: Sampling, *, vocabulary_size: int) -> None:
        llama = library()
        self._llama = llama
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        for link in _links(llama, sampling, vocabulary_size):
            llama.llama_sampler_chain_add(self._chain, link)

    def sample(self, context: Any, index: int) -> int:
        """Draw the token that follows output `index` of the last batch, and remember it."""
        return int(self._llama.llama_sampler_sample(self._chain, context, index))

    def close(self) -> None:
        """Free the chain and its links."""
        if self._chain:
            self._llama.llama_sampler_free(self._chain)
            self._chain = None


def _links(llama: Any, sampling: Sampling, vocabulary_size: int) -> list[Any]:
    links = []
    if sampling.penalises:
        links.append(
            llama.llama_sampler_init_penalties(
                vocabulary_size,
                PENALTY_WINDOW_TOKENS,
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if sampling.temperature == 0:
        return [*links, llama.llama_sampler_init_greedy()]
    if sampling.top_k:
        links.append(llama.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        links.append(llama.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        links.append(llama.llama_sampler_init_min_p(sampling.min_p, 1))
    links.append(llama.llama_sampler_init_temp(sampling.temperature))
    links.append(llama.llama_sampler_init_dist(sampling.seed))
    return links
