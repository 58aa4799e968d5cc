import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.empty_log import open_empty_log
from support.fake_upstream import FakeUpstream
from support.log_records import NOW, end_of, id_of
from support.word_vectors import embedding, vector_of

from gateway.config import Settings
from gateway.embedding_sample import OLDEST_US, EmbeddingSample, Of
from gateway.embedding_work import EmbeddingStatistics, EmbeddingWork
from gateway.embeddings import Projector
from gateway.errors import ConfigError
from gateway.settings import settings_from_text
from monitors.embeddings.config import EmbeddingConfig
from storage.database import Database
from storage.errors import DatabaseFailed
from storage.late import add_late_inputs
from storage.records import End, Payload, Signals
from storage.repository import Repository
from storage.writer import Batch

LOOK_US = 300_000_000
START = NOW - NOW % LOOK_US + 1


class SetClock:
    """A `Clock` that stands where it is put."""

    def __init__(self) -> None:
        self.us = START

    def monotonic(self) -> float:
        """Return seconds."""
        return self.us / 1e6

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return self.us


def chat(number: int, asked: str = "", answered: str = "fine", **facts: Any) -> End:
    """Return a chat that has just ended."""
    request = {"messages": [{"role": "user", "content": asked or f"question {number}"}]}
    response = {"choices": [{"message": {"content": answered}}]}
    end = end_of(number, **{"started_at": START, **facts})
    return replace(
        end, payload=Payload(json.dumps(request).encode(), json.dumps(response).encode())
    )


def sampled(ends: list[End], seed: int = 1, **options: Any) -> list[dict[Of, str]]:
    """Return the texts that are drawn of some records."""
    sample = EmbeddingSample(random.Random(seed))
    sample.reconfigure({"chat": EmbeddingConfig(by="embed", **options)})
    sample.observe(ends, START)
    return [{**one.texts} for one in sample.take().get("chat", [])]


def test_a_bounded_sample_is_drawn_evenly() -> None:
    """Of many predictions as many as are wanted, each with the same chance, and none twice."""
    ends = [chat(number) for number in range(30)]
    met = Counter(one["prompt"] for seed in range(400) for one in sampled(ends, seed, sample=6))
    assert set(met.values()) <= set(range(48, 120)), "6 of 30 in 400 draws: 80 times each"
    assert len(met) == 30
    assert len(sampled(ends[:3], sample=6)) == 3


def test_what_was_taken_is_not_taken_again() -> None:
    """Each look has a sample of its own."""
    sample = EmbeddingSample(random.Random(1))
    sample.reconfigure({"chat": EmbeddingConfig(by="embed")})
    sample.observe([chat(1), chat(2)], START)
    assert (sample.statistics().waiting, len(sample.take()["chat"])) == (2, 2)
    assert sample.take() == {}


def test_only_new_texts_of_clients_are_drawn() -> None:
    """Not shadows, records without text, other routes, embeddings, or what is read anew."""
    left_out = [
        chat(1, role="shadow"),
        chat(2, route="other"),
        chat(3, started_at=START - OLDEST_US - 1),
        chat(4, asked="  "),
        end_of(5, text=False, started_at=START),
        chat(7, operation="embedding"),
    ]
    assert sampled([*left_out, chat(6, "hello")]) == [{"prompt": "hello"}]


def test_a_prediction_counts_with_all_its_texts() -> None:
    """A failed answer is no text; where it is asked for, its prompt is not embedded alone."""
    failed = chat(1, "hello", status=502)
    assert sampled([failed]) == [{"prompt": "hello"}]
    assert sampled([failed], of=("prompt", "answer")) == []
    assert sampled([chat(2, "hello")], of=("answer", "prompt")) == [
        {"answer": "fine", "prompt": "hello"}
    ]


def test_of_long_texts_the_end_is_embedded() -> None:
    """What a conversation is about now stands last."""
    (found,) = sampled([chat(1, "a" * 100 + "b" * 64)], max_chars=64)
    assert found["prompt"] == "b" * 64


class Rig:
    """The work over a real log and a server that embeds."""

    def __init__(self, database: Database, server: FakeUpstream, **options: Any) -> None:
        self.database = database
        self.clock = SetClock()
        self.told: list[tuple[str, EmbeddingStatistics]] = []
        config = {
            "gateway": {"listen": f"127.0.0.1:{server.port}"},
            "upstreams": {"a": {"name": "a", "url": server.url}},
            "routes": {n: {"name": n, "split": {"a": 1.0}} for n in ("chat", "embed")},
            "monitors": {"embeddings": {"chat": {"by": "embed", **options}}},
        }
        self.work = EmbeddingWork(
            EmbeddingSample(random.Random(1)),
            Settings.model_validate(config),
            self.clock,
            tell=lambda route, counts: self.told.append((route, counts)),
        )

    def look(self, *ends: End) -> None:
        """Write records, show them to the work, and let the next look come."""
        log = Repository(self.database)
        said = [Signals(end.prediction.id) for end in ends]
        log.append(Batch(ends, said, (), (), ()), now_us=NOW)
        self.work.observe(ends)
        self.clock.us += LOOK_US
        self.work.turn(self._write)

    def _write(self, given: Any) -> int:
        with self.database.cursor() as connection:
            return add_late_inputs(connection, given, now_us=NOW)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what the log has of the model's inputs."""
        with self.database.cursor() as connection:
            return connection.execute(
                "SELECT prediction_id::VARCHAR, route, features FROM inputs_m_2 ORDER BY 1"
            ).fetchall()


@pytest.fixture
def server() -> Iterator[FakeUpstream]:
    """Return a server that embeds."""
    with FakeUpstream() as server:
        server.default = embedding
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty log."""
    database = open_empty_log(tmp_path, now_us=lambda: NOW)
    yield database
    database.close()


def test_prompts_become_inputs_of_their_predictions(
    database: Database, server: FakeUpstream
) -> None:
    """Rows of the source's route and model, where its other inputs would be."""
    rig = Rig(database, server)
    rig.look(chat(1, "soup bread"), chat(2, "train ticket"))
    (first, second) = rig.rows()
    assert (first[:2], second[:2]) == ((id_of(1), "chat"), (id_of(2), "chat"))
    expected = Projector().row(vector_of("soup bread"), "prompt_embedding")
    assert first[2] == {name.replace(".", "_"): value for name, value in expected.items()}
    assert rig.told == [("chat", EmbeddingStatistics(2, 0))]


def test_requests_say_who_asks_and_keep_no_text(database: Database, server: FakeUpstream) -> None:
    """They go by the configured route, under a tag, with the key, and are recorded as facts."""
    rig = Rig(database, server, model="e-1", key="k-1", of=("prompt", "answer"))
    rig.look(*(chat(number) for number in range(20)))
    assert [len(one.json["input"]) for one in server.requests] == [16, 16, 8]
    asked = server.requests[0]
    assert (asked.target, asked.json["model"]) == ("/v1/embeddings", "e-1")
    assert asked.header("authorization") == "Bearer k-1"
    assert asked.header("x-driftgate-route") == "embed"
    assert asked.header("x-driftgate-tags") == "driftgate-embeddings"
    assert asked.header("x-driftgate-no-log") == "1"
    found = rig.rows()
    assert len(found) == 20
    assert {"prompt_embedding_d00", "answer_embedding_norm"} <= found[0][2].keys()


@pytest.mark.parametrize("fault", ["status:401", "html"])
def test_a_failure_is_told_once_and_loses_one_sample(
    database: Database, server: FakeUpstream, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """It is counted each time; the look after it works, and says so."""
    caplog.set_level(logging.WARNING)
    rig = Rig(database, server)
    server.default = fault
    for number in (1, 2):
        rig.look(chat(number))
    assert len(server.requests) == 2, "one request a look"
    server.default = embedding
    rig.look(chat(3))
    assert [row[0] for row in rig.rows()] == [id_of(3)]
    assert rig.work.statistics() == EmbeddingStatistics(1, 2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("not all texts of route `chat` are embedded, route `embed` gives no")
    assert said[1] == "all texts of route `chat` are embedded again"


def test_texts_that_are_refused_cost_no_others(database: Database, server: FakeUpstream) -> None:
    """One text that is too long takes its request with it, and not the whole sample."""
    rig = Rig(database, server)
    server.script(embedding, "status:400", embedding)
    rig.look(*(chat(number) for number in range(40)))
    assert [len(one.json["input"]) for one in server.requests] == [16, 16, 8]
    assert rig.work.statistics() == EmbeddingStatistics(24, 16)
    assert len(rig.rows()) == 24


def test_a_look_that_could_not_be_written_is_not_made_up_for(
    database: Database, server: FakeUpstream
) -> None:
    """The next one comes at its time: a full disk makes no more requests."""
    rig = Rig(database, server)

    def refuse(_: object) -> int:
        raise DatabaseFailed("the disk is full")

    rig.work.observe([chat(1)])
    rig.clock.us += LOOK_US
    with pytest.raises(DatabaseFailed):
        rig.work.turn(refuse)
    rig.work.observe([chat(2)])
    assert rig.work.turn(refuse) > 0.0
    assert len(server.requests) == 1


def test_nothing_is_asked_before_a_look_is_due(database: Database, server: FakeUpstream) -> None:
    """Looks lie on the monitors' grid; between them nothing leaves."""
    rig = Rig(database, server)
    rig.work.observe([chat(1)])
    wait_s = rig.work.turn(lambda _: 0)
    assert (server.requests, 0.0 < wait_s <= 1.0) == ([], True)


CONFIG = """
upstreams: {{a: {{url: "http://127.0.0.1:9/v1"}}}}
routes: {{chat: {{split: {{a: 1.0}}}}, embed: {{split: {{a: 1.0}}}}}}
{more}
monitors: {{embeddings: {embeddings}}}
"""


@pytest.mark.parametrize(
    ("embeddings", "more", "words"),
    [
        ("{chat: {by: gone}}", "", "`monitors.embeddings.chat.by` names `gone`, which is no route"),
        ("{gone: {by: embed}}", "", "`monitors.embeddings.gone` names `gone`, which is no route"),
        ("{chat: {by: chat}}", "", "whose own texts are to be embedded"),
        ("{chat: {by: embed}}", "record: {payloads: none}", "needs text"),
        ("{chat: {by: embed, of: [prompt, prompt]}}", "", "names a text twice"),
        ("{chat: {by: embed, key: a, key_file: b}}", "", "at most one of `key` and `key_file`"),
        (
            "{chat: {by: embed}}",
            f"gateway: {{keys: [{{name: a, sha256: '{'0' * 64}'}}]}}",
            "needs a `key` or `key_file`",
        ),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    embeddings: str, more: str, words: str
) -> None:
    """What names nothing, asks itself, or will be refused is told at the start."""
    text = CONFIG.format(embeddings=embeddings, more=more)
    with pytest.raises(ConfigError, match=words):
        settings_from_text(text, {}, source="test")


def test_a_key_is_read_of_its_file(tmp_path: Path) -> None:
    """Secrets may stand in files; an empty one is no key."""
    file = tmp_path / "key"
    file.write_text("k-2\n")
    config = EmbeddingConfig(by="embed", key_file=str(file))
    assert config.read_key() == "k-2"
    file.write_text(" ")
    with pytest.raises(ValueError, match="is empty"):
        config.read_key()
