"""`/api/v1/db`: sizes, compaction, backup, forgetting and rebuild over HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from support.api_server import serving
from support.log_life import Life
from support.log_records import NOW, id_of

from gateway.api import db
from gateway.config import Settings
from gateway.recording import hashed_user_key
from gateway.settings import parse_settings, zero_config
from storage.lifecycle.cycle import LifeCycle

USER = hashed_user_key("default", b"alice")


@dataclass
class State:
    """What the handlers ask for."""

    settings: Settings
    lifecycle: LifeCycle


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Open a directory with twenty predictions, half of them of one user."""
    life = Life(tmp_path / "data", NOW)
    life.record((n, NOW - n - 1, (USER, "b" * 32)[n % 2]) for n in range(20))
    life.drain()
    yield life
    life.close()


@pytest.fixture
def client(life: Life) -> Iterator[httpx2.Client]:
    """Serve the routes."""
    app = FastAPI()
    settings = parse_settings(zero_config({}), source="t")
    app.include_router(db.router(State(settings, life.cycle)), prefix="/api/v1")
    with serving(app) as url, httpx2.Client(base_url=f"{url}/api/v1", timeout=30) as client:
        yield client


def test_the_life_cycle_is_there(client: httpx2.Client, life: Life) -> None:
    """Look, compact, back up and rebuild: each answers with what it did."""
    found = client.get("/db").json()
    assert found["info"]["predictions"] == 20
    assert found["forecast"]["full_in_days"] is None
    assert client.post("/db/compact").json()["tries"] == 1
    made = client.post("/db/backup").json()
    assert made["predictions"] == 20
    assert Path(made["folder"]).parent == life.data_dir / "copies"
    rebuilt = client.post("/db/rebuild").json()
    assert rebuilt["predictions"] == 20
    assert client.get("/db").json()["info"]["predictions"] == 20


def test_users_are_forgotten_by_the_key_that_clients_send(client: httpx2.Client) -> None:
    """The key is hashed as a request's is; an id goes beside it."""
    body = {"users": ["alice"], "ids": [id_of(1)]}
    assert client.post("/db/forget", json=body).json()["predictions"] == 11
    after = client.get("/db").json()
    assert after["info"]["predictions"] == 9
    assert after["done"]["forgotten_predictions"] == 11


@pytest.mark.parametrize("body", [{}, {"ids": ["no id"]}, {"user": "alice"}, {"users": [""]}])
def test_a_wish_that_names_nobody_is_refused(
    client: httpx2.Client, body: dict[str, object]
) -> None:
    """With the API's error."""
    answer = client.post("/db/forget", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_request"
