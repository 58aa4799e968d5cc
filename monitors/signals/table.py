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
    optional : bool
        Much traffic has nothing of the kind: where no row does, nothing is said of it.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    source: str
    missing: str
    optional: bool = False


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
        "answer_language",
        "categorical",
        "",
        "Language of the answer, ISO 639-1.",
        "features.answer_language",
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
    Signal(
        "reasoning_tokens",
        "numeric",
        "tokens",
        "Tokens of the answer that the model thought and did not show.",
        "features.reasoning_tokens",
        "the upstream did not report them",
        optional=True,
    ),
    Signal(
        "cost_usd",
        "numeric",
        "USD",
        "The request's tokens at the configured prices.",
        "features.cost_usd",
        "no price is configured, or the upstream reported no usage",
        optional=True,
    ),
    Signal(
        "tool_calls",
        "numeric",
        "calls",
        "Calls of tools that the answer asks for; 0 is an answer without.",
        "features.tool_calls",
        "there was no answer, or none that could call tools",
        optional=True,
    ),
    Signal(
        "unknown_tool",
        "categorical",
        "",
        "The answer calls a tool that the request did not lend.",
        "features.unknown_tool",
        "no text was recorded, or there was no answer that could call tools",
        optional=True,
    ),
    Signal(
        "json_valid",
        "categorical",
        "",
        "The answer is JSON and follows the JSON Schema that the request set.",
        "features.json_valid",
        "the request did not ask for JSON, or the answer calls tools instead",
        optional=True,
    ),
    Signal(
        "empty_output",
        "categorical",
        "",
        "The answer ended well with no words and no call of a tool.",
        "features.empty_output",
        "no text was recorded, or the operation answers with something else than words",
        optional=True,
    ),
    Signal(
        "repeated_output",
        "categorical",
        "",
        "The answer says the same over and over, until it was cut.",
        "features.repeated_output",
        "no text was recorded",
        optional=True,
    ),
    Signal(
        "cache",
        "categorical",
        "",
        "Whether the gateway's cache answered: hit, miss, bypass.",
        "features.cache",
        "never",
        optional=True,
    ),
    Signal(
        "prediction",
        "categorical",
        "",
        "Class that a predictive model answered for the first row; whole numbers up to 999, too.",
        "features.prediction",
        "no predictive model answered, or with a number that is no class",
        optional=True,
    ),
    Signal(
        "prediction_value",
        "numeric",
        "",
        "Number that a predictive model answered for the first row.",
        "features.prediction_value",
        "no predictive model answered, or with something that is no number",
        optional=True,
    ),
    Signal(
        "confidence",
        "numeric",
        "share",
        "Probability that a predictive model gave its class, 0 to 1.",
        "features.confidence",
        "no predictive model answered, or it gave no probabilities",
        optional=True,
    ),
)
"""Every signal that `monitors` compares by default."""

SIGNALS_BY_NAME: Mapping[str, Signal] = MappingProxyType({item.name: item for item in SIGNALS})

OPTIONAL = frozenset(item.name for item in SIGNALS if item.optional)
"""Names of those that much traffic has nothing of."""
