"""The one list of signals: what can be watched of a prediction at no model cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that is watched.

    Attributes
    ----------
    name : str
        Feature name in configuration, verdicts and alerts.
    kind : str
        `numeric` or `categorical`.
    unit : str
        `tokens`, `characters`, `seconds`, or "" for categories.
    source : str
        `table.column` of the prediction log.
    missing : str
        What a NULL in that column means.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    source: str
    missing: str


SIGNALS: tuple[Signal, ...] = (
    Signal(
        "prompt_tokens",
        "numeric",
        "tokens",
        "Tokens of the prompt, as the upstream counted them.",
        "features.prompt_tokens",
        "the upstream reported no usage",
    ),
    Signal(
        "response_tokens",
        "numeric",
        "tokens",
        "Tokens of the answer, as the upstream counted them.",
        "features.response_tokens",
        "the upstream reported no usage",
    ),
    Signal(
        "prompt_chars",
        "numeric",
        "characters",
        "Characters of the prompt.",
        "features.prompt_chars",
        "no text was recorded",
    ),
    Signal(
        "response_chars",
        "numeric",
        "characters",
        "Characters of the answer.",
        "features.response_chars",
        "no text was recorded, or there was no answer",
    ),
    Signal(
        "latency_s",
        "numeric",
        "seconds",
        "From the request's head to the last byte of the answer.",
        "features.latency_s",
        "the gateway stopped before it had answered",
    ),
    Signal(
        "ttft_s",
        "numeric",
        "seconds",
        "From the request's head to the first content of the answer.",
        "features.ttft_s",
        "not a stream, or nothing arrived",
    ),
    Signal(
        "time_per_output_token_s",
        "numeric",
        "seconds",
        "Between tokens of the answer, after the first.",
        "features.time_per_output_token_s",
        "not a stream, or fewer than two tokens",
    ),
    Signal(
        "finish_reason",
        "categorical",
        "",
        "Why the model stopped: stop, length, tool_calls, content_filter.",
        "features.finish_reason",
        "there was no answer",
    ),
    Signal(
        "language",
        "categorical",
        "",
        "Language of the prompt (of the answer when the prompt does not show it), ISO 639-1.",
        "features.language",
        "too little text to tell",
    ),
    Signal(
        "refusal",
        "categorical",
        "",
        "The answer declines the request: a known phrase at the start of a short answer.",
        "features.refusal",
        "no text was recorded",
    ),
    Signal(
        "error",
        "categorical",
        "",
        "The request failed, other than by the client leaving.",
        "features.error",
        "never",
    ),
)
"""Every signal that `monitors` compares by default."""

SIGNALS_BY_NAME: Mapping[str, Signal] = MappingProxyType({item.name: item for item in SIGNALS})
