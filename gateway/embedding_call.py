"""Texts to vectors, by a route of our own data plane: routed, tried again and priced as any."""

from collections.abc import Sequence
from typing import Self

import httpx2
import msgspec

from gateway.config import split_address
from gateway.embeddings import Vector, all_vectors
from gateway.errors import EmbeddingFailed
from gateway.version import VERSION
from monitors.embeddings.config import EmbeddingConfig

TAG = "driftgate-embeddings"
"""`x-driftgate-tags` of these requests: what they cost can be told apart."""
TIMEOUT_S = 15.0
BATCH = 16
"""Texts of one request: some servers take no more than 32."""
_SHOWN_BYTES = 200
_REFUSED_TEXTS = frozenset({400, 413, 422})
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class EmbeddingCalls:
    """Requests of one look over one connection; a context manager.

    Parameters
    ----------
    listen : str
        Address of the data plane, as configured.
    timeout_s : float
        Of one request.
    """

    def __init__(self, listen: str, *, timeout_s: float = TIMEOUT_S) -> None:
        host, port = split_address(listen)
        host = _ANY_ADDRESS.get(host, host)
        shown = f"[{host}]" if ":" in host else host
        self._client = httpx2.Client(
            base_url=f"http://{shown}:{port}/v1",
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._client.close()

    def embed(self, texts: Sequence[str], config: EmbeddingConfig) -> list[Vector]:
        """Return the vectors of at most `BATCH` texts, in their order.

        No text is recorded once more: the record keeps facts alone (`x-driftgate-no-log`), so that
        who is forgotten is forgotten.

        Raises
        ------
        EmbeddingFailed
            No answer came, or one that holds no embeddings.
        """
        try:
            answer = self._client.post(
                "/embeddings",
                content=msgspec.json.encode(
                    {"model": config.model or config.by, "input": list(texts)}
                ),
                headers=_headers(config),
            )
        except (httpx2.HTTPError, OSError, ValueError) as error:
            # ValueError: the file of a key is empty, or its content no header.
            raise EmbeddingFailed(f"{type(error).__name__}: {error}") from error
        if answer.status_code != httpx2.codes.OK:
            shown = " ".join(answer.text[:_SHOWN_BYTES].split())
            raise EmbeddingFailed(
                f"answered {answer.status_code}: {shown}",
                of_texts=answer.status_code in _REFUSED_TEXTS,
            )
        try:
            vectors = all_vectors(answer.content)
        except ValueError as error:
            raise EmbeddingFailed(str(error)) from error
        if len(vectors) != len(texts):
            raise EmbeddingFailed(f"answered {len(vectors)} embeddings for {len(texts)} texts")
        return vectors


def _headers(config: EmbeddingConfig) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "user-agent": f"driftgate/{VERSION}",
        "x-driftgate-route": config.by,
        "x-driftgate-tags": TAG,
        "x-driftgate-no-log": "1",
    }
    key = config.read_key()
    return headers if key is None else {**headers, "authorization": f"Bearer {key}"}
