import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_upstream import FakeUpstream
from support.log_records import end_of
from support.worker import RunningWorker

from gateway.embeddings import Projector, all_vectors, first_vector
from gateway.enrich import enrich
from monitors.embeddings.names import group_of
from stats.projection import directions, project
from storage.records import End, Payload

VECTOR = [0.25, -0.5, 0.125, 1.0]
OTHER = [1.0, 0.0, 0.0, 0.0]
NAMES = [f"embedding.d{number:02d}" for number in range(16)]


def in_base64(vector: list[float]) -> str:
    """Return a vector as OpenAI's clients ask for it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def answer(*embeddings: Any) -> bytes:
    """Return an answer, fields in the order of OpenAI's."""
    data = [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(embeddings)
    ]
    return json.dumps({"object": "list", "data": data, "model": "e"}).encode()


def inputs(response: bytes, *, truncated: bool = False, **facts: Any) -> list[Any]:
    """Return what enrichment finds in an answer."""
    one = end_of(1, operation="embedding", **facts)
    payload = Payload(b'{"input": "a"}', response, response_truncated=truncated)
    (found,) = enrich([End(one.prediction, one.attempts, payload)])
    return list(found.inputs)


@pytest.mark.parametrize("first", [VECTOR, in_base64(VECTOR)])
def test_the_first_embedding_is_told_by_its_parts(first: Any) -> None:
    """Both encodings give the same row: sixteen parts along fixed directions, and the length."""
    (row,) = inputs(answer(first, OTHER))
    expected = project(VECTOR, directions(4))
    assert [row[name] for name in NAMES] == pytest.approx(expected.along, abs=1e-4)
    assert row["embedding.norm"] == pytest.approx(expected.norm, rel=1e-2)
    assert {group_of(f"input.{name}") for name in row} == {"embedding"}


def test_an_answer_that_was_cut_has_its_first_embedding() -> None:
    """Many embeddings are more than a record keeps; one that is cut itself is none."""
    whole = answer(VECTOR, OTHER)
    assert inputs(whole[: whole.index(b"]") + 9], truncated=True) == inputs(whole)
    assert inputs(whole[: whole.index(b"]")], truncated=True) == []


def test_what_failed_embeds_nothing() -> None:
    """An error is no embedding, and neither is a chat that writes of one."""
    assert inputs(answer(VECTOR), status=500) == []
    assert inputs(answer(VECTOR), reason="upstream_error") == []
    one = end_of(1, operation="chat")
    (found,) = enrich([End(one.prediction, (), Payload(b"{}", answer(VECTOR)))])
    assert list(found.inputs) == []


@pytest.mark.parametrize(
    "body", [answer([]), answer("!"), answer("AAA="), answer(["a"]), answer(None), b"no"]
)
def test_what_is_no_embedding_is_left_out(body: bytes) -> None:
    """Whatever a server sends, nothing is raised and nothing made up."""
    assert first_vector(body) is None
    with pytest.raises(ValueError, match="no answer of embeddings"):
        all_vectors(body)


def test_noise_of_encodings_is_no_drift() -> None:
    """Lengths of one are all 1.0, and parts the same, behind whatever floats they went through."""
    rng = np.random.default_rng(3)
    vector = rng.normal(size=256)
    vector /= np.linalg.norm(vector)
    row = Projector().row(vector, "embedding")
    rounded = Projector().row(vector.astype(np.float32).astype(np.float64), "embedding")
    assert row["embedding.norm"] == rounded["embedding.norm"] == 1.0
    assert rounded == pytest.approx(row, abs=2e-4)


def test_a_vector_without_a_length_is_unknown() -> None:
    """A model that answers zeros gives rows whose parts are missing: that is watched, too."""
    (row,) = inputs(answer([0.0, 0.0]))
    assert [row[name] for name in NAMES] == [None] * 16
    assert row["embedding.norm"] == 0.0


def test_all_vectors_come_in_order_of_their_inputs() -> None:
    """Servers may answer in any order; `index` says which is which."""
    data = [{"index": 1, "embedding": OTHER}, {"index": 0, "embedding": in_base64(VECTOR)}]
    found = all_vectors(json.dumps({"data": data}).encode())
    assert [vector.tolist() for vector in found] == [VECTOR, OTHER]


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}])
def test_embeddings_of_the_official_client_are_read(
    tmp_path: Path, a: FakeUpstream, encoding: Any
) -> None:
    """A client's call through the gateway, base64 by default, has its projected embedding."""
    config = f'upstreams:\n  a: {{url: "{a.url}"}}\nroutes:\n  embed: {{split: {{a: 1.0}}}}\n'
    with RunningWorker(tmp_path, config) as worker:
        client = worker.client()
        said = client.embeddings.create(model="embed", input=["one", "two"], **encoding)
        client.close()
        worker.stop()
        (found,) = enrich(worker.records())
    asked = a.requests[0].json.get("encoding_format")
    assert asked == encoding.get("encoding_format", "base64")
    expected = project(said.data[0].embedding, directions(8)).along
    assert [found.inputs[0][name] for name in NAMES] == pytest.approx(expected, abs=1e-3)
