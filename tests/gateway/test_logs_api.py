"""The control plane's reads: logs, exports, SQL."""

import io
import json
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import polars as pl
import pytest
from support.reading_log import copies_left, served_log, take_in
from support.report_log import START, at, fill, known_traffic, opened

from gateway.recording import hashed_user_key
from storage.database import Database

PERIOD = {"since": "2023-11-14T22:00Z", "until": "2023-11-14T23:00Z"}
ENDLESS = (
    "SELECT count(*) FROM range(1000000) a, range(1000000) b"
    " WHERE a.range::VARCHAR || b.range::VARCHAR = 'x'"
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a log with known traffic."""
    found = tmp_path_factory.mktemp("log") / "data"
    fill(found, known_traffic())
    return found


@pytest.fixture
def database(data_dir: Path, tmp_path: Path) -> Iterator[Database]:
    """Open a copy of it."""
    shutil.copytree(data_dir, tmp_path / "data")
    with opened(tmp_path / "data") as found:
        yield found


@pytest.fixture
def client(database: Database) -> Iterator[httpx2.Client]:
    """Ask the API's root."""
    with (
        served_log(database) as url,
        httpx2.Client(base_url=f"{url}/api/v1", timeout=30, trust_env=False) as found,
    ):
        yield found


def numbers(answer: httpx2.Response) -> list[int]:
    """Return the records' numbers."""
    assert answer.status_code == 200, answer.text
    return [int(row["id"][-4:], 16) for row in answer.json()["rows"]]


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    """Return status and code of an error of the API's shape."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"]


def test_logs_are_filtered(client: httpx2.Client) -> None:
    """Every filter of the command line is a parameter."""
    assert numbers(client.get("/logs", params={**PERIOD, "limit": 2})) == [9, 10]
    wanted = {**PERIOD, "errors": "true", "status": "5xx,404", "role": "primary"}
    assert numbers(client.get("/logs", params=wanted)) == [5, 8]
    assert numbers(client.get("/logs", params={**PERIOD, "where": "latency_s > 5"})) == [7, 8]


def test_logs_know_users_by_their_key(client: httpx2.Client, database: Database) -> None:
    """Or by the hash that the log has."""
    key = hashed_user_key("default", b"ann")
    take_in(database, [at(70, 70, user_key=key), at(71, 71, user_key="0" * 32)])
    assert numbers(client.get("/logs", params={**PERIOD, "user": "ann"})) == [70]
    assert numbers(client.get("/logs", params={**PERIOD, "user": key})) == [70]


def test_logs_go_on_from_where_they_ended(client: httpx2.Client, database: Database) -> None:
    """`after` of an answer leads to what has come in since."""
    first = client.get("/logs", params={"since": "2023-11-14"}).json()
    take_in(database, [at(0.5, 80)])
    later = client.get("/logs", params={"since": "2023-11-14", "after": first["after"]})
    assert numbers(later) == [80]
    again = client.get("/logs", params={"since": "2023-11-14", "after": later.json()["after"]})
    assert numbers(again) == []


def test_one_prediction_is_whole(client: httpx2.Client) -> None:
    """With its tries; an unknown id is 404."""
    found = client.get("/logs/01900000-0000-7000-8000-000000000007").json()["record"]
    assert [one["upstream"] for one in found["attempt_list"]] == ["primary", "backup"]
    assert (found["feedback"], found["payload"]) == ([], None)
    missing = client.get("/logs/01900000-0000-7000-8000-0000000000ff")
    assert refusal(missing) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/logs", {"where": "nope > 1"}),
        ("/logs", {"status": "6xx"}),
        ("/logs", {"after": "x"}),
        ("/logs", {"payload": "true", "limit": 500}),
        ("/logs/no-id", {}),
        ("/export", {"columns": "nope"}),
        ("/export", {"where": "true; DROP TABLE predictions"}),
    ],
)
def test_what_cannot_be_asked_is_422(
    client: httpx2.Client, path: str, params: dict[str, str]
) -> None:
    """In the API's shape, before any row."""
    assert refusal(client.get(path, params=params)) == (422, "query_refused")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_is_a_stream_of_text(client: httpx2.Client, form: str, tmp_path: Path) -> None:
    """Nothing of it is left in the data directory."""
    answer = client.get("/export", params={**PERIOD, "format": form, "columns": "id,route"})
    lines = answer.text.splitlines()
    assert len(lines) == (12 if form == "csv" else 11)
    last = lines[-1].split(",") if form == "csv" else list(json.loads(lines[-1]).values())
    assert last == ["01900000-0000-7000-8000-00000000000a", "other"]
    assert copies_left(tmp_path / "data") == []


def test_a_parquet_export_is_a_tar_archive(client: httpx2.Client) -> None:
    """Each member is a Parquet file of the next slice."""
    answer = client.get("/export", params={**PERIOD, "format": "parquet"})
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        assert file is not None
        assert len(pl.read_parquet(file.read())) == 11


def test_an_export_that_is_left_gives_its_place_back(
    client: httpx2.Client, database: Database, tmp_path: Path
) -> None:
    """A client that goes in the middle leaves no file, no connection and no place taken."""
    take_in(database, [at(100, 5000 + n, prediction="x" * 4000) for n in range(3000)])
    for _ in range(3):
        with client.stream("GET", "/export", params={**PERIOD, "format": "jsonl"}) as answer:
            assert answer.status_code == 200
            next(answer.iter_bytes(1024))
        # The server sees a client go when it writes to it the next time.
        deadline_s = time.monotonic() + 10
        while copies_left(tmp_path / "data") and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert copies_left(tmp_path / "data") == []
    assert database.statistics().users == 0


def test_sql_is_answered(client: httpx2.Client) -> None:
    """As JSON, or CSV where that is asked for."""
    asked = {"sql": "SELECT route, count(*) AS n FROM predictions GROUP BY ALL ORDER BY 1"}
    found = client.post("/sql", json=asked).json()
    assert found == {
        "version": 1,
        "columns": [{"name": "route", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}],
        "rows": [["chat", 9], ["other", 2]],
        "truncated": False,
    }
    as_csv = client.post("/sql", json={**asked, "limit": 1}, headers={"accept": "text/csv"})
    assert as_csv.text == "route,n\nchat,9\n"
    assert as_csv.headers["x-driftgate-truncated"] == "true"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"sql": "DROP TABLE predictions"}, "query_refused"),
        ({"sql": "FROM read_text('/etc/passwd')"}, "query_refused"),
        ({"sql": "SELECT nope FROM predictions"}, "query_refused"),
        ({"sql": ENDLESS, "time_s": 0.2}, "query_timed_out"),
        ({"sql": "SELECT 1", "time_s": 3600}, "invalid_request"),
        ({"sql": "SELECT 1", "more": 1}, "invalid_request"),
    ],
)
def test_sql_is_refused(client: httpx2.Client, body: dict[str, object], code: str) -> None:
    """With what DuckDB says, in the API's shape."""
    assert refusal(client.post("/sql", json=body)) == (422, code)


def test_two_queries_at_a_time(client: httpx2.Client, database: Database) -> None:
    """The third is told to come back; all three are ended by their clients' going."""
    gone: list[type[Exception]] = []

    def ask() -> None:
        try:
            httpx2.post(
                f"{client.base_url}sql", json={"sql": ENDLESS, "time_s": 60}, timeout=1.5,
                trust_env=False,
            )  # fmt: skip
        except httpx2.TimeoutException as error:
            gone.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    while database.statistics().users < 2:
        time.sleep(0.01)
    busy = client.post("/sql", json={"sql": "SELECT 1"})
    assert refusal(busy) == (429, "too_many_at_once")
    assert int(busy.headers["retry-after"]) >= 1
    # Logs have places of their own.
    assert client.get("/logs", params=PERIOD).status_code == 200
    for thread in threads:
        thread.join()
    assert gone == [httpx2.ReadTimeout] * 2
    deadline = time.monotonic() + 5
    while database.statistics().users and time.monotonic() < deadline:
        time.sleep(0.02)
    assert database.statistics().users == 0
    assert client.post("/sql", json={"sql": "SELECT 1"}).status_code == 200


def test_times_before_the_epoch_do_not_exist(client: httpx2.Client) -> None:
    """Microseconds are checked, too."""
    answer = client.get("/logs", params={"since_us": -1, "until_us": START})
    assert refusal(answer) == (422, "invalid_request")
