"""Configuration of embeddings: section `monitors.embeddings`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from monitors.sections import Frozen


class EmbeddingConfig(Frozen):
    """Texts of a route that another route embeds, so that a change of what they are about shows."""

    by: str  # route that serves an embedding model; its upstreams get the texts
    of: tuple[Literal["prompt", "answer"], ...] = Field(("prompt",), min_length=1)  # which texts
    sample: int = Field(50, ge=1, le=1000)  # predictions a look at most, drawn at random
    max_chars: int = Field(1000, ge=64, le=32_000)  # of a text; of a longer one its end
    model: str | None = Field(None, min_length=1)  # what `by` is asked for; null: its own name
    key: SecretStr | None = None  # one of `gateway.keys`, in clear, where there are any
    key_file: str | None = None  # instead of `key`: a file that holds it, read at each look

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key is not None and self.key_file is not None:
            raise ValueError("at most one of `key` and `key_file` may be given")
        if len(set(self.of)) < len(self.of):
            raise ValueError("`of` names a text twice")
        return self

    def read_key(self) -> str | None:
        """Return the key; None where none is configured.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            It is empty.
        """
        if self.key_file is None:
            return None if self.key is None else self.key.get_secret_value()
        key = Path(self.key_file).read_text(encoding="utf-8").strip()
        if not key:
            raise ValueError(f"`{self.key_file}` is empty; write the key there")
        return key
