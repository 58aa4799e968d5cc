"""`GET /v1/models`: whose names are listed, what is kept of them, and what failing costs."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
import pytest
from support.fake_answers import STALL, Script, SeenRequest, Step, head, whole
from support.fake_upstream import FakeUpstream
from support.virtual_time import ManualClock

from gateway.config import Settings
from gateway.errors import ModelNotFound
from gateway.exchange import Exchange
from gateway.model_entries import entries_of
from gateway.model_list import ANSWER_BYTES, MAX_LISTS, ModelList, is_model_path, model_id_of
from router.clock import SystemClock
from router.tasks import TaskSet
from router.transport import HttpUpstream

CREATED = 1_790_000_000
TALL = {
    "id": "org/tall",
    "object": "model",
    "created": 7,
    "owned_by": "vllm",
    "max_model_len": 8192,
    "permission": [{"id": "p", "ratio": 1.50}],
}


def lists(*models: object, **more: object) -> Script:
    """Return a script that answers with a list of models."""
    body = json.dumps({"object": "list", "data": models, **more}).encode()

    def script(_: SeenRequest) -> Iterable[Step]:
        yield whole(200, body)

    return script


def named(*names: str) -> Script:
    """Return a script that answers with bare entries."""
    return lists(*({"id": name, "object": "model"} for name in names))


def settings_of(rest: dict[str, Any] | None, **upstreams: dict[str, Any]) -> Settings:
    """Return a configuration with the route `chat` and, if given, `*`."""
    routes: dict[str, Any] = {"chat": {"name": "chat", "split": {next(iter(upstreams)): 1.0}}}
    if rest is not None:
        routes["*"] = {"name": "*", **rest}
    named_too = {name: {"name": name, **config} for name, config in upstreams.items()}
    return Settings.model_validate({"upstreams": named_too, "routes": routes})


class Kit:
    """A model list over real clients of fake upstreams, with a clock for its age."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = ManualClock()
        self.tasks = TaskSet()
        self.clients = {
            name: HttpUpstream(config, clock=SystemClock())
            for name, config in settings.upstreams.items()
            if config.url is not None
        }
        self.models = ModelList(self.clients.get, self.clock, self.tasks)

    async def names(self, **more: Any) -> list[str]:
        """Return the names listed."""
        body = json.loads(await self.models.body(self.settings, **more))
        return [entry["id"] for entry in body["data"]]

    async def aclose(self) -> None:
        """Close the clients."""
        await self.tasks.cancel()
        for client in self.clients.values():
            await client.aclose()


def run(settings: Settings, scenario: Callable[[Kit], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario with a kit."""

    async def main() -> None:
        kit = Kit(settings)
        try:
            await asyncio.wait_for(scenario(kit), 20)
        finally:
            await kit.aclose()

    asyncio.run(main())


def test_routes_come_first_then_what_the_rest_can_answer(a: FakeUpstream, b: FakeUpstream) -> None:
    """Routes, then each upstream's names in its order; a name is listed once."""
    a.default, b.default = named("one", "chat", "two"), named("two", "three")
    split = {"split": {"a": 0.5, "b": 0.5}}

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat", "one", "two", "three"]

    run(settings_of(split, a={"url": a.url}, b={"url": b.url}), scenario)


def test_without_a_route_for_the_rest_nobody_is_asked(a: FakeUpstream) -> None:
    """Names that no route answers are not listed."""

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat"]
        assert a.requests == []

    run(settings_of(None, a={"url": a.url}), scenario)


def test_only_upstreams_that_get_requests_are_asked(a: FakeUpstream, b: FakeUpstream) -> None:
    """A share of zero, and a stand-in, list nothing: their names would be refused elsewhere."""
    a.default = named("one")
    rest = {"split": {"a": 1.0, "b": 0.0}, "fallback": ["b"]}

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat", "one"]
        assert b.requests == []

    run(settings_of(rest, a={"url": a.url}, b={"url": b.url}), scenario)


def test_upstream_with_a_model_of_its_own_is_listed_by_it(a: FakeUpstream) -> None:
    """Whatever the client asks, that model answers; its fields are the upstream's."""
    a.default = lists({"id": "other"}, TALL)

    async def scenario(kit: Kit) -> None:
        body = json.loads(await kit.models.body(kit.settings))
        assert body["data"][1:] == [TALL]

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url, "model": "org/tall"}), scenario)


def test_fields_of_upstreams_are_kept(a: FakeUpstream) -> None:
    """Everything an upstream says of a model is passed on, number for number as written."""
    a.default = lists(TALL, models=["llama-server adds this"])

    async def scenario(kit: Kit) -> None:
        body = await kit.models.body(kit.settings)
        own, tall = json.loads(body)["data"]
        assert own == {
            "id": "chat", "object": "model", "created": CREATED + 1000, "owned_by": "driftgate",
        }  # fmt: skip
        assert tall == TALL
        assert b'"ratio": 1.5' in body

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


def test_anthropic_clients_get_their_shape(a: FakeUpstream) -> None:
    """Entries are of type `model` with name and date; the page says that it is the only one."""
    a.default = lists(TALL, {"id": "claude", "display_name": "Claude", "type": "model"})

    async def scenario(kit: Kit) -> None:
        page = json.loads(await kit.models.body(kit.settings, anthropic=True))
        assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "chat", "claude")
        own, tall, claude = page["data"]
        assert own == {
            "type": "model", "id": "chat", "display_name": "chat",
            "created_at": "2026-09-21T14:30:00Z",
        }  # fmt: skip
        assert (tall["created_at"], tall["max_model_len"]) == ("1970-01-01T00:00:07Z", 8192)
        assert "object" not in tall
        assert claude["display_name"] == "Claude"

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


def test_anthropic_upstreams_are_asked_in_their_way(a: FakeUpstream) -> None:
    """Key, version and page size as they want it; OpenAI's clients get OpenAI's fields."""
    model = {"type": "model", "id": "claude", "created_at": "2025-02-24T00:00:00Z"}
    a.default = lists(model, has_more=False)

    async def scenario(kit: Kit) -> None:
        entry = json.loads(await kit.models.body(kit.settings))["data"][1]
        assert entry["object"] == "model"
        assert entry["created"] == 1_740_355_200
        assert "type" not in entry
        seen = a.requests[0]
        assert seen.target == "/v1/models?limit=1000"
        assert (seen.header("x-api-key"), seen.header("authorization")) == ("sk-a", None)
        assert seen.header("anthropic-version")

    config = {"url": a.url, "protocol": "anthropic", "api_key": "sk-a"}
    run(settings_of({"split": {"a": 1.0}}, a=config), scenario)


def test_credentials_are_the_upstreams(a: FakeUpstream, b: FakeUpstream) -> None:
    """An upstream's key and headers go with the question; the client's key to others alone."""
    own = {"url": a.url, "api_key": "sk-a", "headers": {"X-Team": "red"}}

    async def scenario(kit: Kit) -> None:
        await kit.names(token=b"sk-client")
        assert a.requests[0].header("authorization") == "Bearer sk-a"
        assert a.requests[0].header("x-team") == "red"
        assert b.requests[0].header("authorization") == "Bearer sk-client"

    run(settings_of({"split": {"a": 0.5, "b": 0.5}}, a=own, b={"url": b.url}), scenario)


def test_key_among_the_added_fields_keeps_the_clients_back(a: FakeUpstream) -> None:
    """An upstream whose key the operator writes as a field never sees a client's."""
    config = {"url": a.url, "headers": {"api-key": "of-the-operator"}}

    async def scenario(kit: Kit) -> None:
        await kit.names(token=b"sk-client")
        assert a.requests[0].header("authorization") is None
        assert a.requests[0].header("api-key") == "of-the-operator"

    run(settings_of({"split": {"a": 1.0}}, a=config), scenario)


def test_lists_of_clients_with_keys_of_their_own_are_apart(a: FakeUpstream) -> None:
    """What an upstream lists for one key is not shown to another, and not for ever kept."""

    def script(request: SeenRequest) -> Iterable[Step]:
        key = (request.header("authorization") or "none").removeprefix("Bearer ")
        return named(f"of-{key}")(request)

    a.default = script

    async def scenario(kit: Kit) -> None:
        assert await kit.names(token=b"k1") == ["chat", "of-k1"]
        assert await kit.names(token=b"k2") == ["chat", "of-k2"]
        assert await kit.names() == ["chat", "of-none"]
        assert await kit.names(token=b"k1") == ["chat", "of-k1"]
        assert len(a.requests) == 3
        for number in range(MAX_LISTS):
            await kit.names(token=b"n%d" % number)
        assert len(kit.models._lists) == MAX_LISTS

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


def test_list_is_kept_and_renewed_behind_the_answer(a: FakeUpstream) -> None:
    """For a minute nobody is asked; then the old list is given at once, and the new one next."""
    a.script(named("old"), named("new"))

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat", "old"]
        kit.clock.now_s += 59
        assert await kit.names() == ["chat", "old"]
        assert len(a.requests) == 1
        kit.clock.now_s += 2
        assert await kit.names() == ["chat", "old"]
        await kit.tasks.wait(5)
        assert await kit.names() == ["chat", "new"]
        assert len(a.requests) == 2

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


def test_clients_at_once_ask_once(a: FakeUpstream) -> None:
    """A hundred clients wait for one question, and one that leaves does not end it."""
    a.default = named("one")

    async def scenario(kit: Kit) -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(kit.names()) for _ in range(100)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [["chat", "one"]] * 99
        assert len(a.requests) == 1

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


def test_reload_asks_again(a: FakeUpstream) -> None:
    """Another configuration begins with nothing kept."""
    a.script(named("old"), named("new"))

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat", "old"]
        kit.settings = kit.settings.model_copy()
        assert await kit.names() == ["chat", "new"]

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


TOO_LONG = b"x" * (ANSWER_BYTES + 1)


@pytest.mark.parametrize(
    "answer",
    [
        "status:500",
        "status:401",
        "reset",
        (whole(200, b"<html>no</html>"),),
        (whole(200, b'{"object": "list"}'),),
        (whole(200, b'{"data": {"id": "x"}}'),),
        (whole(200, b'{"data": ["x"]}'),),
        (whole(200, b"[" * 100_000),),
        (whole(200, b'{"data": [{"id": "m", "owned_by": "\xff"}]}'),),
        (whole(200, b'{"data": [{"id": "\\ud800"}]}'),),
        (whole(200, b'{"data": [], "more": "' + TOO_LONG + b'"}'),),
        (whole(302, b"", "Location: http://127.0.0.1:1/v1/models"),),
    ],
    ids=lambda answer: answer if isinstance(answer, str) else answer[0][-24:].decode("latin-1"),
)
def test_failing_upstream_is_left_out(a: FakeUpstream, b: FakeUpstream, answer: Any) -> None:
    """Whatever it does instead of listing, the others are listed, and it is soon asked again."""
    b.default = named("two")
    if isinstance(answer, str):
        a.script(answer)
    else:
        a.script(lambda _: answer)
    a.default = named("back")

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat", "two"]
        kit.clock.now_s += 6
        await kit.names()
        await kit.tasks.wait(5)
        assert await kit.names() == ["chat", "back", "two"]

    split = {"split": {"a": 0.5, "b": 0.5}}
    run(settings_of(split, a={"url": a.url}, b={"url": b.url}), scenario)


def test_silent_upstreams_hold_nobody_for_long(a: FakeUpstream, b: FakeUpstream) -> None:
    """One that says nothing, and one that never ends, cost two seconds together."""

    def endless(_: SeenRequest) -> Iterable[Step]:
        yield head(200, "Content-Length: 1000")
        yield b'{"data": ['
        yield STALL

    a.default, b.default = endless, lambda _: (STALL,)

    async def scenario(kit: Kit) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert await kit.names() == ["chat"]
        assert loop.time() - began_s < 4.0

    split = {"split": {"a": 0.5, "b": 0.5}}
    run(settings_of(split, a={"url": a.url}, b={"url": b.url}), scenario)


def test_upstream_that_is_not_there_is_passed_over() -> None:
    """A configured model of an engine that does not run yet is listed all the same."""

    async def scenario(kit: Kit) -> None:
        assert await kit.names() == ["chat", "smol"]

    run(settings_of({"split": {"e": 1.0}}, e={"engine": "llama.cpp", "model": "smol"}), scenario)


@pytest.mark.parametrize(
    ("path", "model_id"),
    [
        ("/v1/models/gpt", "gpt"),
        ("/v1/models/org/name", "org/name"),
        ("/v1/models/org%2Fname", "org/name"),
        ("/v1/models/a%20b%25", "a b%"),
        ("/v1/models/accounts/f/models/x%23deployment", "accounts/f/models/x#deployment"),
        ("/v1/models/%E2%82%AC", "€"),
        ("/v1/models/%FF", None),
        ("/v1/models/", None),
        ("/v1/models", None),
        ("/v1/modelsx", None),
    ],
)
def test_name_in_a_path(path: str, model_id: str | None) -> None:
    """Names may hold slashes, plain or percent-encoded; bytes that are no text are no name."""
    assert model_id_of(path) == model_id


@pytest.mark.parametrize(
    ("path", "found"),
    [("/v1/models", True), ("/v1/models/", True), ("/v1/models/a/b", True), ("/v1/modelsx", False)],
)
def test_paths_of_the_list(path: str, *, found: bool) -> None:
    """The list and everything below it, and nothing that only begins alike."""
    assert is_model_path(path) == found


class Asked:
    """A request as far as a model list looks at it."""

    def __init__(self, path: str, **headers: str) -> None:
        self.path = path
        self._headers = {
            name.replace("_", "-").encode(): value.encode() for name, value in headers.items()
        }

    def header(self, name: bytes) -> bytes | None:
        return self._headers.get(name)


def asked(path: str, **headers: str) -> Exchange:
    """Return a request for a path."""
    return Asked(path, **headers)  # type: ignore[return-value]  # the parts that are looked at


def test_one_model_is_answered_by_its_entry(a: FakeUpstream) -> None:
    """`GET /v1/models/NAME` gives the entry in the client's shape; an unknown name is a 404."""
    a.default = lists(TALL)

    async def scenario(kit: Kit) -> None:
        async def answer(path: str, **headers: str) -> Any:
            body = await kit.models.answer(asked(path, **headers), kit.settings, keyless=True)
            return json.loads(body)

        assert await answer("/v1/models/org%2Ftall") == TALL
        assert (await answer("/v1/models/chat"))["owned_by"] == "driftgate"
        version = "2023-06-01"
        assert (await answer("/v1/models/chat", anthropic_version=version))["type"] == "model"
        assert (await answer("/v1/models"))["object"] == "list"
        for path in ("/v1/models/none", "/v1/models/%FF"):
            with pytest.raises(ModelNotFound, match="GET /v1/models") as caught:
                await answer(path)
            assert (caught.value.status, caught.value.param) == (404, "model")

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


@pytest.mark.parametrize(
    ("headers", "keyless", "sent"),
    [
        ({"authorization": "Bearer k"}, True, "Bearer k"),
        ({"x_api_key": "k"}, True, "Bearer k"),
        ({"authorization": "Bearer k"}, False, None),
        ({"authorization": "Basic eDp5"}, True, None),
        ({}, True, None),
    ],
)
def test_client_key_is_shown_to_upstreams_without_one(
    a: FakeUpstream, headers: dict[str, str], sent: str | None, *, keyless: bool
) -> None:
    """In whichever field it came, and never when it is a key of this gateway."""

    async def scenario(kit: Kit) -> None:
        await kit.models.answer(asked("/v1/models", **headers), kit.settings, keyless=keyless)
        assert a.requests[0].header("authorization") == sent

    run(settings_of({"split": {"a": 1.0}}, a={"url": a.url}), scenario)


@pytest.mark.parametrize("model_id", [None, 5, "", ["x"], "x" * 513])
def test_entries_without_a_usable_name_are_left_out(model_id: object) -> None:
    """An odd entry does not cost the sound ones."""
    body = json.dumps({"data": [{"id": model_id}, {"id": "sound"}, {"object": "model"}]})
    found = entries_of(body.encode())
    assert found is not None
    assert [entry.id for entry in found] == ["sound"]


@pytest.mark.parametrize(
    "field", ['"created": true', '"created": -5', '"created": 1e300', '"created_at": "yesterday"']
)
def test_odd_dates_are_unknown(field: str) -> None:
    """A number that is no date is shown as the epoch; a text stays as the upstream wrote it."""
    found = entries_of(b'{"data": [{"id": "m", %b}]}' % field.encode())
    assert found is not None
    shown = msgspec.json.decode(msgspec.json.encode(found[0].shown(anthropic=True)))
    assert shown["created_at"] == ("yesterday" if "_at" in field else "1970-01-01T00:00:00Z")
    assert msgspec.json.decode(msgspec.json.encode(found[0].shown(anthropic=False)))["id"] == "m"
