"""What is embedded, without the library that checks it; see `config`."""

from collections.abc import Sequence
from typing import Literal, Protocol


class EmbeddingOptions(Protocol):
    """Texts of a route that another route embeds."""

    @property
    def of(self) -> Sequence[Literal["prompt", "answer"]]:
        """Which texts."""
        ...
