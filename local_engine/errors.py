"""Errors of the embedded engine.

EngineError
├── EngineUnavailable        llama-cpp-python is not installed
├── EngineClosed             the engine is shutting down
├── EngineBusy               every slot and every waiting place is taken
├── ModelNotFound            no such file or name, or it could not be downloaded
├── ModelInvalid             not a GGUF file, damaged, or not the file that was asked for
├── InvalidParameter         a request field has a wrong type or value
├── PromptTooLong            the prompt leaves no room in a slot's context
└── ComputeFailed            llama.cpp refused a batch
"""


class EngineError(Exception):
    """Base of this folder's errors; `code` is the machine-readable word."""

    code = "engine_error"


class EngineUnavailable(EngineError):
    """The native library is missing."""

    code = "engine_unavailable"


class EngineClosed(EngineError):
    """The engine is being freed and takes no more requests."""

    code = "engine_closed"


class EngineBusy(EngineError):
    """As many requests run and wait as may."""

    code = "engine_busy"


class ModelNotFound(EngineError):
    """A model name leads to no file."""

    code = "model_not_found"


class ModelInvalid(EngineError):
    """A file is there, and is not a model that can be used."""

    code = "model_invalid"


class InvalidParameter(EngineError):
    """A request field cannot be honoured; `param` names it."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message)
        self.param = param


class PromptTooLong(EngineError):
    """A prompt has more tokens than a slot can hold."""

    code = "context_length_exceeded"

    def __init__(
        self,
        *,
        limit_tokens: int,
        prompt_tokens: int | None = None,
        setting: str = "engine.context_tokens",
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.limit_tokens = limit_tokens
        length = "far too many" if prompt_tokens is None else str(prompt_tokens)
        super().__init__(
            f"the prompt has {length} tokens and the embedded engine takes at most"
            f" {limit_tokens}; shorten it or raise `{setting}`"
        )


class ComputeFailed(EngineError):
    """llama.cpp returned an error while it evaluated a batch."""

    code = "compute_failed"
