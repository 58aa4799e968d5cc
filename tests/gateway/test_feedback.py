"""Feedback: by HTTP and from files, with a server and without one."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import polars as pl
import pytest
from fastapi import FastAPI
from support.api_server import State, leave_address, serving
from support.command_line import Run, leave_configuration, make_run
from support.empty_log import lay_empty_log
from support.log_records import end_of, id_of, signals_of
from support.report_log import START, opened

from gateway.api import feedback, health
from gateway.errors import InvalidRequest
from gateway.feedback import MAX_BYTES, MAX_ROWS, parse_feedback
from gateway.feedback_rows import FeedbackBody
from router.clock import SystemClock
from storage.repository import Repository
from storage.writer import Batch, write_batch

ROWS = 40


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a log with numbered predictions."""
    folder = tmp_path_factory.mktemp("log") / "data"
    lay_empty_log(folder)
    ends = [end_of(number, text=False) for number in range(ROWS)]
    with opened(folder) as database, database.cursor() as cursor:
        write_batch(cursor, Batch(ends, signals_of(ends), (), (), ()), now_us=START)
    return folder


@pytest.fixture
def data_dir(filled: Path, tmp_path: Path) -> Path:
    """Copy it."""
    shutil.copytree(filled, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def monitor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Return a way to run the program."""
    leave_configuration(monkeypatch, str(tmp_path))
    return make_run(capsys)


@pytest.fixture
def server(data_dir: Path) -> Iterator[str]:
    """Serve the API over the log; leave the address where the command line looks for it."""
    app = FastAPI()
    with opened(data_dir) as database:
        state = State(Repository(database), SystemClock())
        app.include_router(health.router(state))
        app.include_router(feedback.router(state), prefix="/api/v1")

        with serving(app) as url:
            leave_address(data_dir, url)
            yield url


def kept(data_dir: Path) -> list[tuple[object, ...]]:
    """Return the feedback of a log that nobody holds."""
    with opened(data_dir) as database, database.cursor() as cursor:
        return cursor.execute(
            "SELECT prediction_id::VARCHAR, score, label, comment FROM feedback ORDER BY given_at"
        ).fetchall()


def test_one_prediction_without_a_server(data_dir: Path, monitor: Run) -> None:
    """Score, label and comment are written straight into the file."""
    said = ("--score", "0.8", "--label", "good", "--comment", "fine")
    done = monitor("feedback", id_of(3), *said, "--data-dir", data_dir)
    assert (done.code, done.out) == (0, f"{id_of(3)}: written\n")
    assert kept(data_dir) == [(id_of(3), 0.8, "good", "fine")]


def test_a_prediction_that_is_not_there_yet(data_dir: Path, monitor: Run) -> None:
    """Feedback that is early is kept, and said to be so."""
    done = monitor("feedback", id_of(999), "--label", "late", "--data-dir", data_dir)
    assert done.code == 0
    assert "not in the log yet" in done.out
    assert kept(data_dir) == [(id_of(999), None, "late", None)]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("x", "--score", "1"), "x-driftgate-id"),
        ((id_of(1),), "at least one"),
        ((id_of(1), "--score", "nan"), "must be a number"),
        ((id_of(1), "--label", "a" * 257), "longer than 256"),
        ((), "--file"),
        ((id_of(1), "--file", "a.csv"), "excludes"),
        (("--file", "none.csv"), "there is no file"),
    ],
)
def test_wrong_usage_writes_nothing(
    data_dir: Path, monitor: Run, words: tuple[str, ...], why: str
) -> None:
    """Each refusal says what is wrong, and exits with 2."""
    done = monitor("feedback", *words, "--data-dir", data_dir)
    assert done.code == 2
    assert why in done.err
    assert kept(data_dir) == []


def lay_csv(path: Path) -> None:
    """Write a file with good rows, an unknown id, empty cells and another column."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prediction_id", "label", "score", "customer"])
        writer.writerow([id_of(1), "yes", "1", "a"])
        writer.writerow([id_of(2).upper(), "no, or\nso", "", "b"])
        writer.writerow([id_of(700), "", "0.25", "c"])


def lay_jsonl(path: Path) -> None:
    """Write the same as JSON Lines."""
    rows = [
        {"id": id_of(1), "label": "yes", "score": 1},
        {"id": id_of(2), "label": "no, or\nso", "score": None},
        {"id": id_of(700), "score": 0.25, "customer": {"name": "c"}},
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)))


def lay_parquet(path: Path) -> None:
    """Write the same as Parquet, with the gap that data frames have."""
    pl.DataFrame(
        {
            "id": [id_of(1), id_of(2), id_of(700)],
            "label": ["yes", "no, or\nso", None],
            "score": [1.0, float("nan"), 0.25],
        }
    ).write_parquet(path)


FILES = {"labels.csv": lay_csv, "labels.jsonl": lay_jsonl, "labels.parquet": lay_parquet}
EXPECTED = [
    (id_of(1), 1.0, "yes", None),
    (id_of(2), None, "no, or\nso", None),
    (id_of(700), 0.25, None, None),
]


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_server(data_dir: Path, monitor: Run, name: str) -> None:
    """CSV, JSON Lines and Parquet say the same; ids that are unknown are kept and counted."""
    path = data_dir.parent / name
    FILES[name](path)
    done = monitor("feedback", "--file", path, "--data-dir", data_dir)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("3 rows written; 1 of them about predictions that are not in the")
    assert kept(data_dir) == EXPECTED


def test_a_file_with_a_server(data_dir: Path, server: str, monitor: Run) -> None:
    """The server that holds the file writes the rows; thousands of them, in parts."""
    path = data_dir.parent / "labels.jsonl"
    rows = [{"id": id_of(number), "score": number} for number in range(6_000)]
    path.write_text("\n".join(map(json.dumps, rows)))
    done = monitor("feedback", "--file", path, "--data-dir", data_dir)
    assert done.code == 0, done.err
    assert done.out.startswith("6000 rows written; 5960 of them")


def test_the_server_takes_all_rows_or_none(server: str) -> None:
    """A wrong row among good ones is told by its number; too many at once are refused."""
    with httpx2.Client(base_url=f"{server}/api/v1", trust_env=False) as client:
        body = {"feedback": [{"id": id_of(1), "score": 1}, {"id": "x", "score": 1}]}
        refused = client.post("/feedback", json=body)
        assert refused.status_code == 422
        assert refused.json()["error"]["param"] == "feedback.1.id"
        assert client.post("/feedback", json={"feedback": []}).status_code == 422
        taken = client.post("/feedback", json={"feedback": body["feedback"][:1]})
        assert (taken.status_code, taken.json()) == (
            201,
            {"rows": 1, "unknown": 0, "forgotten": 0},
        )


def test_rows_with_faults_are_told_with_their_lines(data_dir: Path, monitor: Run) -> None:
    """The good rows of a hostile file are written, each of the others is named."""
    path = data_dir.parent / "labels.jsonl"
    lines = [
        b'{"id": "%s", "score": 1}' % id_of(1).encode(),
        b"\xff\xfe not text",
        b"[1, 2]",
        b'{"score": 1}',
        b'{"id": "%s", "score": "many"}' % id_of(2).encode(),
        b'{"id": "%s"}' % id_of(2).encode(),
        b'{"id": "%s", "score": 1e999}' % id_of(2).encode(),
        b'{"id": {"a": 1}, "score": 1}',
        b"[" * 100_000,
        b'{"id": "%s", "label": "%s"}' % (id_of(2).encode(), b"a" * 300),
    ]
    path.write_bytes(b"\n".join(lines))
    done = monitor("feedback", "--file", path, "--data-dir", data_dir)
    assert done.code == 2
    told = [line for line in done.err.splitlines() if line.startswith("monitor: line ")]
    assert [int(line.split()[2]) for line in told] == list(range(2, 11))
    assert kept(data_dir) == [(id_of(1), 1.0, None, None)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", b""),
        ("labels.csv", b"number,score\n1,2\n"),
        ("labels.csv", b"id,outcome\n1,2\n"),
        ("labels.csv", b"id,score\n\xff\xfe,2\n"),
        ("labels.csv", b'id,score\n"' + b"a" * 2_000_000 + b'",1\n'),
        ("labels.csv", b"id,score\n1,2,3,4\n"),
        ("labels.parquet", b"PAR1 no file"),
        ("labels.jsonl", b"\n"),
        ("labels.txt", b"id,score\n"),
    ],
)
def test_files_that_cannot_be_read_write_nothing(
    data_dir: Path, monitor: Run, name: str, content: bytes
) -> None:
    """An empty, broken or foreign file is a mistake of usage, said in a sentence."""
    path = data_dir.parent / name
    path.write_bytes(content)
    done = monitor("feedback", "--file", path, "--data-dir", data_dir)
    assert done.code == 2
    assert "nothing was written" in done.err
    assert kept(data_dir) == []


def test_feedback_of_what_was_forgotten_is_left_out(data_dir: Path, monitor: Run) -> None:
    """What was forgotten on purpose does not come back as a label."""
    with opened(data_dir) as database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO forgotten (prediction_id, before_at, forgotten_at)"
            " VALUES (?::UUID, now()::TIMESTAMP, now()::TIMESTAMP)",
            [id_of(1)],
        )
    done = monitor("feedback", id_of(1), "--label", "x", "--data-dir", data_dir)
    assert done.code == 3
    assert "forgotten" in done.err
    assert kept(data_dir) == []


def test_a_folder_without_a_log_is_left_alone(tmp_path: Path, monitor: Run) -> None:
    """A misspelt folder is no new log."""
    done = monitor("feedback", id_of(1), "--label", "x", "--data-dir", tmp_path / "none")
    assert done.code == 4
    assert not os.path.lexists(tmp_path / "none")


def test_a_list_is_checked_whole() -> None:
    """`POST /v1/feedback` takes a list; a wrong row refuses it, as does one row too many."""
    row = {"id": id_of(1), "label": "good"}
    found = parse_feedback(json.dumps([row, row]).encode())
    assert found == [FeedbackBody(id_of(1), label="good")] * 2
    for wrong in ([row, {"id": "x", "score": 1}], [], [row] * (MAX_ROWS + 1)):
        with pytest.raises(InvalidRequest):
            parse_feedback(json.dumps(wrong).encode())
    with pytest.raises(InvalidRequest, match="bytes"):
        parse_feedback(b" " * MAX_BYTES + json.dumps(row).encode())


@pytest.mark.parametrize(
    ("said", "word"), [("1", "1"), ("1.0", "1"), ("0.25", "0.25"), ("true", "true"), ('"1"', "1")]
)
def test_labels_of_classes_may_be_numbers_and_flags(server: str, said: str, word: str) -> None:
    """What a model answers as a number is labelled with a number, over either plane."""
    body = f'{{"id": "{id_of(1)}", "label": {said}}}'
    assert parse_feedback(body.encode()) == FeedbackBody(id_of(1), label=word)
    rows = {"feedback": [json.loads(body)]}
    assert httpx2.post(f"{server}/api/v1/feedback", json=rows).status_code == 201


def test_a_file_that_says_nothing_is_told_once(data_dir: Path, monitor: Run) -> None:
    """Without any of the three columns no row can be taken: one sentence, not one a row."""
    path = data_dir.parent / "labels.csv"
    path.write_text("id,outcome\n" + f"{id_of(1)},1\n" * 50)
    done = monitor("feedback", "--file", path, "--data-dir", data_dir)
    assert (done.code, done.err.count("left out")) == (2, 0)
    assert "`score`, `label` and `comment`" in done.err
