"""Embeddings in answers, as rows of inputs: read at ingest, and from answers to ourselves.

Known forms are those of OpenAI's `data[].embedding`: a list of numbers, or base64 of little-endian
32-bit floats, which its clients ask for. Of an answer to several inputs the first counts.
"""

import binascii
import re
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from monitors.embeddings.names import Group, direction_name, norm_name
from stats.projection import directions, project
from storage.records import End, InputRow

OPERATION = "embedding"
WIDEST = 65_536
"""Longer vectors are no embeddings."""
_WIDTHS = 8
"""Directions of the widest take 8 MB, and answers of one model are all as wide."""
_DIGITS = 4
"""Decimals of a part: GPUs and encodings differ behind them."""
_NORM_DIGITS = 3

_FIRST = re.compile(rb'"embedding"\s*:\s*(["\[])')
_ENDS = {b"[": b"]", b'"': b'"'}
_MOST_BYTES = 2_000_000
_numbers = msgspec.json.Decoder(list[float]).decode

Vector = npt.NDArray[np.floating[Any]]


class _One(msgspec.Struct):
    embedding: list[float] | str
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_One]


_answer = msgspec.json.Decoder(_Answer).decode


class Projector:
    """Vectors to rows of inputs; directions are made once for each of a few widths."""

    def __init__(self) -> None:
        self._directions: dict[int, npt.NDArray[np.float64]] = {}

    def row(self, vector: Vector, group: Group) -> InputRow:
        """Return an embedding as inputs of a model; what cannot be told is None."""
        width = vector.size
        if width not in self._directions:
            if len(self._directions) == _WIDTHS:
                self._directions.clear()
            self._directions[width] = directions(width)
        norm, along = project(vector, self._directions[width])
        named: InputRow = {
            direction_name(group, number): None if part != part else round(part, _DIGITS)  # noqa: PLR0124  (NaN)
            for number, part in enumerate(along.tolist())
        }
        named[norm_name(group)] = float(f"{norm:.{_NORM_DIGITS}g}")
        return named


def embedding_row(end: End, projector: Projector) -> InputRow | None:
    """Return the inputs that a record's answer is watched as; None where it embeds nothing.

    An answer whose end was cut off will do: its first embedding stands at its beginning.
    """
    payload, prediction = end.payload, end.prediction
    if payload is None or prediction.operation != OPERATION or prediction.reason is not None:
        return None
    if not 200 <= prediction.status < 300:
        return None
    vector = first_vector(payload.response)
    return None if vector is None else projector.row(vector, "embedding")


def first_vector(body: bytes) -> Vector | None:
    """Return the first embedding of an answer, or of its beginning; None where there is none."""
    # All the others would have to be parsed, too, and they are hundreds of kilobytes.
    found = _FIRST.search(body)
    if found is None:
        return None
    begin = found.end()
    end = body.find(_ENDS[found[1]], begin, begin + _MOST_BYTES)
    if end < 0:
        return None
    try:
        if found[1] == b"[":
            return _sound(_numbers(body[begin - 1 : end + 1]))
        return _sound(_from_base64(body[begin:end]))
    except (msgspec.DecodeError, ValueError):
        return None


def all_vectors(body: bytes) -> list[Vector]:
    """Return the embeddings of a whole answer, in order of their inputs.

    Raises
    ------
    ValueError
        It is no answer of embeddings.
    """
    try:
        listed = sorted(_answer(body).data, key=lambda one: one.index)
        vectors = [_sound(_values(one.embedding)) for one in listed]
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"no answer of embeddings: {error}") from error
    found = [vector for vector in vectors if vector is not None]
    if len(found) < len(vectors):
        raise ValueError("no answer of embeddings: one is empty, or too long")
    return found


def _values(embedding: list[float] | str) -> Any:
    return embedding if isinstance(embedding, list) else _from_base64(embedding.encode())


def _from_base64(text: bytes) -> Vector:
    return np.frombuffer(binascii.a2b_base64(text, strict_mode=True), dtype="<f4")


def _sound(values: Any) -> Vector | None:
    with np.errstate(invalid="ignore"):  # A signalling NaN is told as any other.
        vector = np.asarray(values, dtype=np.float64)
    return vector if vector.ndim == 1 and 0 < vector.size <= WIDEST else None
