"""An embedding model in a few lines: texts of the same words lie near each other.

A text is the mean of its words' fixed vectors beside a direction that all texts share, as those of
real models do, of length one.
"""

import functools
import json
import random
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from support.fake_answers import SeenRequest, Step, whole

WIDTH = 96
TOPICS = {
    "cooking": "soup bread oven recipe salt pepper onion garlic bake stir simmer dough",
    "travel": "train ticket hotel beach flight luggage passport island map museum tour visa",
    "code": "python function loop compile error stack thread memory pointer class lint test",
    "law": "contract clause court lease notice tenant damages appeal statute liable breach deed",
}


def text_of(topics: tuple[str, ...], draws: random.Random, words: int = 12) -> str:
    """Draw a text about one of some topics."""
    own = TOPICS[draws.choice(topics)].split()
    return " ".join(draws.choice(own) for _ in range(words))


def vector_of(text: str) -> npt.NDArray[np.float64]:
    """Embed a text."""
    words = text.split() or [""]
    found = np.mean([_word(word) for word in words], axis=0) + np.full(WIDTH, 0.5)
    return np.asarray(found / np.linalg.norm(found), dtype=np.float64)


@functools.cache
def _word(word: str) -> npt.NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=WIDTH)


def embedding(request: SeenRequest) -> Iterator[Step]:
    """Answer with the embeddings of a request's texts."""
    asked = request.json["input"]
    texts = asked if isinstance(asked, list) else [asked]
    data = [
        {"object": "embedding", "index": i, "embedding": vector_of(text).tolist()}
        for i, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    body = {"object": "list", "data": data, "model": request.model, "usage": usage}
    yield whole(200, json.dumps(body).encode())
