"""The border to llama.cpp: everything that touches its C interface, errors translated."""

import ctypes
import logging
import os
from collections import deque
from pathlib import Path
from typing import Any

from local_engine.errors import ComputeFailed, EngineUnavailable, InvalidParameter, ModelInvalid

try:
    from llama_cpp import llama_cpp as _llama
except ImportError:  # the extra is not installed: said when an engine is asked for
    _llama = None

logger = logging.getLogger(__name__)

_PIECE_BYTES = 256
_TEMPLATE_KEY = b"tokenizer.chat_template"


def library() -> Any:
    """Return the ctypes module of llama.cpp.

    Raises
    ------
    EngineUnavailable
    """
    if _llama is None:
        raise EngineUnavailable(
            "the embedded engine needs llama-cpp-python, which is not installed;"
            " install the extra: `pip install 'driftgate[local]'`"
        )
    return _llama


class NativeLog:
    """Sends llama.cpp's log to `logging` at debug level while it is open, not to stderr.

    The last lines are kept: they say why a model was refused.
    """

    def __init__(self) -> None:
        llama = library()
        self.lines: deque[str] = deque(maxlen=8)
        self._previous = llama.llama_log_callback()
        self._previous_data = ctypes.c_void_p()
        llama.llama_log_get(ctypes.byref(self._previous), ctypes.byref(self._previous_data))
        # Held for as long as C may call it: a collected callback is a crash.
        self._callback = llama.llama_log_callback(self._write)
        llama.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _write(self, _level: int, text: bytes, _data: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if line and line.strip("."):
            self.lines.append(line)
            logger.debug("%s", line)

    def close(self) -> None:
        """Give the log back to whoever had it."""
        library().llama_log_set(self._previous, self._previous_data)


class Model:
    """A loaded GGUF file: weights, vocabulary, metadata. Reading it is thread-safe."""

    def __init__(self, path: Path, *, gpu_layers: int) -> None:
        llama = library()
        self._llama = llama
        self.log = NativeLog()
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        self.handle = llama.llama_model_load_from_file(os.fsencode(path), params)
        if not self.handle:
            why = "; ".join(line for line in self.log.lines if "error" in line or "fail" in line)
            self.log.close()
            raise ModelInvalid(
                f"`{path}` cannot be loaded by llama.cpp ({why});"
                " the file is damaged or of a kind this build does not know: fetch it again"
            )
        if llama.llama_model_has_encoder(self.handle):
            self.close()
            raise ModelInvalid(f"`{path}` is an encoder; the engine runs decoder-only models")
        self.vocabulary = llama.llama_model_get_vocab(self.handle)
        self.vocabulary_size = int(llama.llama_vocab_n_tokens(self.vocabulary))
        self.train_tokens = int(llama.llama_model_n_ctx_train(self.handle))
        self.embedding_size = int(llama.llama_model_n_embd(self.handle))
        self.adds_bos = bool(llama.llama_vocab_get_add_bos(self.vocabulary))
        self.weights_bytes = int(llama.llama_model_size(self.handle))

    @property
    def chat_template(self) -> str | None:
        """Return the Jinja source in the metadata, None if there is none."""
        raw = self._llama.llama_model_chat_template(self.handle, None)
        return raw.decode("utf-8", "replace") if raw else None

    @property
    def description(self) -> str:
        """Return llama.cpp's words for the architecture, such as ``llama 256M Q4_1``."""
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        self._llama.llama_model_desc(self.handle, buffer, _PIECE_BYTES)
        return buffer.value.decode("utf-8", "replace")

    def special_text(self, which: str) -> str:
        """Return the text of the ``"bos"`` or ``"eos"`` token, "" if there is none."""
        token = getattr(self._llama, f"llama_vocab_{which}")(self.vocabulary)
        if token < 0:
            return ""
        raw: bytes = self._llama.llama_vocab_get_text(self.vocabulary, token)
        return raw.decode("utf-8", "replace")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return token ids, after a beginning token if the model wants one.

        With `special`, the names of control tokens become these tokens, as templates need it;
        without, they are text like any other.
        """
        raw = text.encode("utf-8", "replace")
        # No vocabulary makes more tokens than bytes, but for the special ones it may add.
        capacity = len(raw) + 8
        if capacity > 2**31 - 1:
            raise InvalidParameter("the text is longer than 2 GiB", param="prompt")
        tokens = (self._llama.llama_token * capacity)()
        count = self._llama.llama_tokenize(
            self.vocabulary, raw, len(raw), tokens, capacity, True, special
        )
        if count < 0:
            raise ComputeFailed("llama.cpp could not tokenise the text")
        # A template may have written the beginning token that the tokeniser adds as well.
        first = 1 if self.adds_bos and count > 1 and tokens[0] == tokens[1] else 0
        return list(tokens[first:count])

    def piece(self, token: int) -> bytes:
        """Return the bytes a token stands for; control tokens are empty, UTF-8 may be partial."""
        size = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self._llama.llama_token_to_piece(self.vocabulary, token, buffer, size, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def ends_generation(self, token: int) -> bool:
        """Say whether a token means that the answer is complete."""
        return bool(self._llama.llama_vocab_is_eog(self.vocabulary, token))

    def close(self) -> None:
        """Free the weights; every context made of them must be closed before."""
        if self.handle:
            self._llama.llama_model_free(self.handle)
            self.handle = None
            self.log.close()


class Batch:
    """Tokens for one call of `Context.decode`."""

    def __init__(self, capacity: int) -> None:
        self._llama = library()
        self.capacity = capacity
        self.native = self._llama.llama_batch_init(capacity, 0, 1)

    def __len__(self) -> int:
        """Return how many tokens are in it."""
        return int(self.native.n_tokens)

    def clear(self) -> None:
        """Empty it."""
        self.native.n_tokens = 0

    def add(self, token: int, *, position: int, sequence: int, output: bool) -> int:
        """Append a token and return its index, which `sample` takes if `output` is set."""
        index = int(self.native.n_tokens)
        if index >= self.capacity:
            raise ComputeFailed(f"a batch holds {self.capacity} tokens")
        self.native.token[index] = token
        self.native.pos[index] = position
        self.native.n_seq_id[index] = 1
        self.native.seq_id[index][0] = sequence
        self.native.logits[index] = output
        self.native.n_tokens = index + 1
        return index

    def close(self) -> None:
        """Free its memory."""
        self._llama.llama_batch_free(self.native)


class Context:
    """KV memory and compute buffers. One thread may use it at a time."""

    def __init__(self, model: Model, *, sequences: int, tokens: int, batch_tokens: int) -> None:
        llama = library()
        params = _parameters(llama, sequences=sequences, tokens=tokens, batch_tokens=batch_tokens)
        params.n_outputs_max = sequences
        self._open(llama, model, params)
        self.tokens = min(tokens, int(llama.llama_n_ctx_seq(self.handle)))

    def _open(self, llama: Any, model: Model, params: Any) -> None:
        self._llama = llama
        self.handle = llama.llama_init_from_model(model.handle, params)
        if not self.handle:
            why = "; ".join(model.log.lines)
            raise ComputeFailed(f"llama.cpp could not make a context ({why})")
        self._memory = llama.llama_get_memory(self.handle)

    def set_threads(self, threads: int) -> None:
        """Use this many threads for prompts and for generation."""
        self._llama.llama_set_n_threads(self.handle, threads, threads)

    def decode(self, batch: Batch) -> None:
        """Evaluate a batch.

        Raises
        ------
        ComputeFailed
            Any result but success; what the sequences hold is then unknown.
        """
        code = self._llama.llama_decode(self.handle, batch.native)
        if code != 0:
            raise ComputeFailed(f"llama.cpp refused a batch of {len(batch)} tokens (code {code})")

    def forget(self, sequence: int) -> None:
        """Drop everything remembered of a sequence."""
        if self._memory:
            self._llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def close(self) -> None:
        """Free it."""
        if self.handle:
            self._llama.llama_free(self.handle)
            self.handle = None


class EmbeddingContext(Context):
    """A context that gives the mean of a text's last hidden states instead of logits."""

    def __init__(self, model: Model, *, tokens: int) -> None:
        llama = library()
        params = _parameters(llama, sequences=1, tokens=tokens, batch_tokens=tokens)
        params.embeddings = True
        params.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN
        self._size = model.embedding_size
        self._open(llama, model, params)
        self.tokens = min(tokens, int(llama.llama_n_ctx_seq(self.handle)))

    def pooled(self) -> list[float]:
        """Return the pooled vector of sequence 0 after `decode`."""
        vector = self._llama.llama_get_embeddings_seq(self.handle, 0)
        if not vector:
            raise ComputeFailed("this model gives no embeddings")
        return list(vector[: self._size])


def _parameters(llama: Any, *, sequences: int, tokens: int, batch_tokens: int) -> Any:
    params = llama.llama_context_default_params()
    params.n_ctx = sequences * tokens
    params.n_seq_max = sequences
    params.n_batch = batch_tokens
    params.n_ubatch = batch_tokens
    # Each sequence has its own stretch of memory: one can never take another's.
    params.kv_unified = False
    return params
