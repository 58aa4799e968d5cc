"""Objects are asked for where they are."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.spec_upstream import KEY, SpecUpstream
from support.worker import RunningWorker

from gateway.client_call import ClientCall, TapLimits
from gateway.pinning import MAX_ID_CHARS, Pins, Place
from gateway.protocols.openai_typed import ResponsesPeek
from gateway.protocols.table import find_operation

CONFIG = """
upstreams:
  a: {{url: "{a}/v1"}}
  b: {{url: "{b}/v1"}}
routes:
  both: {{split: {{a: 0.5, b: 0.5}}, sticky: "header:x-user"}}
  only-b: {{split: {{b: 1.0}}}}
engine: {{enabled: false}}
"""
HOME = Place("route", "upstream")
Ask = dict[str, Any]


def call(target: str, **peek: Any) -> ClientCall:
    """Return a request for a target."""
    operation = find_operation("POST", "/v1/responses")
    return ClientCall(
        b"GET", target.encode(), [], b"", operation, ResponsesPeek(**peek), TapLimits(0, 0)
    )


@pytest.mark.parametrize(
    "asking",
    [
        call("/responses/it"),
        call("/responses/it/cancel?x=/no"),
        call("/threads/t-1/runs/it/steps"),
        call("/responses", previous_response_id="it"),
        call("/responses", conversation="it"),
        call("/responses", conversation={"id": "it"}),
    ],
)
def test_a_request_names_what_it_is_about(asking: ClientCall) -> None:
    """In its path, as the response before, or as a conversation; for its tenant alone."""
    pins = Pins()
    pins.note("t", "it", HOME)
    assert pins.find("t", asking) == HOME
    assert pins.find("another", asking) is None


@pytest.mark.parametrize(
    "asking", [call("/it"), call("/responses?it=it"), call("/responses", conversation=7)]
)
def test_other_words_are_no_names(asking: ClientCall) -> None:
    """The first part of a path, the query and what is no text name nothing."""
    pins = Pins()
    pins.note("t", "it", HOME)
    assert pins.find("t", asking) is None


def test_memory_is_bounded() -> None:
    """The least recently used name goes first; a name without bounds is not kept."""
    pins = Pins(2)
    for name in ("", "x" * (MAX_ID_CHARS + 1), "one", "two"):
        pins.note("t", name, HOME)
    assert pins.find("t", call("/responses/one")) == HOME
    pins.note("t", "three", HOME)
    assert pins.find("t", call("/responses/two")) is None
    assert pins.find("t", call("/responses/one")) == HOME
    assert pins.statistics() == (2, 1)


@pytest.fixture
def upstreams(tmp_path: Path) -> Iterator[tuple[httpx2.Client, SpecUpstream, SpecUpstream]]:
    """Run two upstreams that keep what they make, and give a client of the worker before them."""
    with ExitStack() as stack:
        a, b = stack.enter_context(SpecUpstream()), stack.enter_context(SpecUpstream())
        worker = stack.enter_context(RunningWorker(tmp_path, CONFIG.format(a=a.url, b=b.url)))
        headers = {"Authorization": f"Bearer {KEY}"}
        client = httpx2.Client(base_url=f"{worker.url}/v1", headers=headers, timeout=10)
        yield stack.enter_context(client), a, b


def created(client: httpx2.Client, user: int, **more: Any) -> tuple[str, str]:
    """Make a response; return its id and the upstream that has it."""
    body = {"model": "both", "input": f"Say {user}.", **more}
    answer = client.post("/responses", json=body, headers={"x-user": str(user)})
    assert answer.status_code == 200, answer.text
    upstream = answer.headers["x-driftgate-upstream"]
    if not more.get("stream"):
        return answer.json()["id"], upstream
    found = re.search(r'"id": ?"(resp[^"]*)"', answer.text)
    assert found is not None, answer.text
    return found[1], upstream


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_asked_for_where_they_were_made(
    upstreams: tuple[httpx2.Client, SpecUpstream, SpecUpstream], *, stream: bool
) -> None:
    """Whichever candidate of a split made it, a response is found, gone on from, and deleted."""
    client, _, _ = upstreams
    made = [created(client, user, stream=stream) for user in range(8)]
    assert {upstream for _, upstream in made} == {"a", "b"}
    for name, upstream in made:
        found = client.get(f"/responses/{name}")
        assert (found.status_code, found.headers["x-driftgate-upstream"]) == (200, upstream)
        assert found.headers["x-driftgate-variant"] == upstream
        more = {"model": "both", "input": "More.", "previous_response_id": name}
        following = client.post("/responses", json=more)
        assert following.headers["x-driftgate-upstream"] == upstream
        deleted = client.delete(f"/responses/{name}")
        assert (deleted.status_code, deleted.headers["x-driftgate-upstream"]) == (200, upstream)


def test_files_are_asked_for_where_they_were_sent(
    upstreams: tuple[httpx2.Client, SpecUpstream, SpecUpstream],
) -> None:
    """A file sent by way of a named route is found without naming it again."""
    client, _, _ = upstreams
    form = {"file": ("a.jsonl", b"{}\n")}
    sent = client.post(
        "/files", files=form, data={"purpose": "batch"}, headers={"x-driftgate-route": "only-b"}
    )
    assert (sent.status_code, sent.headers["x-driftgate-upstream"]) == (200, "b")
    found = client.get(f"/files/{sent.json()['id']}/content")
    assert (found.status_code, found.headers["x-driftgate-upstream"]) == (200, "b")
    assert found.content == b"{}\n"
    unknown = client.get("/files/file-unknown")
    assert unknown.status_code == 404


def test_a_route_without_the_upstream_keeps_its_own(
    upstreams: tuple[httpx2.Client, SpecUpstream, SpecUpstream],
) -> None:
    """Who names a model gets its route: a response kept elsewhere does not change that."""
    client, _, _ = upstreams
    name = next(
        name for name, where in (created(client, user) for user in range(30)) if where == "a"
    )
    more = {"model": "only-b", "input": "More.", "previous_response_id": name}
    assert client.post("/responses", json=more).headers["x-driftgate-upstream"] == "b"
