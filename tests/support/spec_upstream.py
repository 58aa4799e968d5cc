"""A spec-shaped upstream on a free port: every endpoint of OpenAI's API, and Anthropic's.

    with SpecUpstream() as upstream:
        OpenAI(base_url=f"{upstream.url}/v1", api_key=KEY)
        Anthropic(base_url=f"{upstream.url}/anthropic", api_key=KEY)

Answers follow from what is asked alone, `x-request-id` too (of plain requests from their very
bytes), so that the same steps taken twice, directly and through a gateway, must agree. A model
`status-NNN` is answered with that status, `broken` with half an answer.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from types import TracebackType
from typing import Any, Self

import uvicorn
from support import spec_anthropic, spec_models
from support.spec_objects import Objects
from support.spec_realtime import RealtimeSession
from support.spec_responses import Responses
from support.spec_wire import (
    CREATED_AT,
    SpecAnswer,
    SpecError,
    SpecRequest,
    json_answer,
    page,
)

KEY = "sk-spec"
GOODBYE = "goodbye"  # said in a realtime conversation, it makes the upstream end it
MODELS = ("gpt-spec", "embedding-spec", "named")
Handler = Callable[[SpecRequest], SpecAnswer]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SpecApi:
    """Finds what answers a request."""

    def __init__(self) -> None:
        objects = Objects()
        responses = Responses(objects.shelf)
        self._openai: dict[str, Callable[..., SpecAnswer]] = {
            "POST /chat/completions": spec_models.chat,
            "POST /completions": spec_models.completions,
            "POST /embeddings": spec_models.embeddings,
            "POST /moderations": spec_models.moderations,
            "POST /images/(?:generations|edits)": spec_models.images,
            "POST /audio/speech": spec_models.speech,
            "POST /audio/(?:transcriptions|translations)": spec_models.transcriptions,
            "POST /responses": responses.create,
            "GET /responses/([^/]+)/input_items": lambda request, one: responses.input_items(one),
            "POST /responses/([^/]+)/cancel": lambda request, one: responses.cancel(one),
            "POST /files": objects.create_file,
            "POST /uploads": objects.create_upload,
            "POST /uploads/([^/]+)/parts": lambda request, one: objects.add_part(one, request),
            "POST /uploads/([^/]+)/complete": lambda request, one: objects.complete_upload(
                one, request
            ),
            "POST /batches": objects.create_batch,
            "POST /vector_stores": objects.create_store,
            "POST /vector_stores/([^/]+)/search": lambda request, one: objects.search(one, request),
            "POST /fine_tuning/jobs": objects.create_job,
            "POST /(?:uploads|batches|fine_tuning/jobs)/([^/]+)/cancel": (
                lambda request, one: objects.cancel(one)
            ),
            "GET /files": partial(objects.list_, "file"),
            "GET /batches": partial(objects.list_, "batch"),
            "GET /vector_stores": partial(objects.list_, "vector_store"),
            "GET /fine_tuning/jobs": partial(objects.list_, "fine_tuning.job"),
            "GET /files/([^/]+)/content": lambda request, one: objects.content(one),
            "GET /(?:files|batches|responses|vector_stores|fine_tuning/jobs)/([^/]+)": (
                lambda request, one: objects.get(one)
            ),
            "DELETE /files/([^/]+)": lambda request, one: objects.shelf.delete(one, "file"),
            "DELETE /responses/([^/]+)": lambda request, one: objects.shelf.delete(one, "response"),
            "DELETE /vector_stores/([^/]+)": lambda request, one: objects.shelf.delete(
                one, "vector_store.deleted"
            ),
            "GET /models": lambda request: page([_model(name) for name in MODELS]),
            "GET /models/([^/]+)": lambda request, one: json_answer(_model(one)),
        }
        self._anthropic: dict[str, Callable[..., SpecAnswer]] = {
            "POST /v1/messages": spec_anthropic.messages,
            "POST /v1/messages/count_tokens": spec_anthropic.count_tokens,
            "(?:GET|POST) /v1/messages/batches(?:/msgbatch_spec(?:/cancel)?)?": (
                spec_anthropic.batch
            ),
            "GET /v1/models": spec_anthropic.models,
        }

    def answer(self, request: SpecRequest) -> SpecAnswer:
        """Answer a request, or refuse it in the shape of its API."""
        anthropic = request.path.startswith("/anthropic/")
        try:
            self._check(request, anthropic=anthropic)
            below = request.path.removeprefix("/anthropic" if anthropic else "/v1")
            return self._found(self._anthropic if anthropic else self._openai, below, request)
        except SpecError as error:
            shape = _anthropic_error if anthropic else _openai_error
            return json_answer(shape(error), error.status, *error.headers)

    def _check(self, request: SpecRequest, *, anthropic: bool) -> None:
        shown = request.header("authorization").removeprefix("Bearer ")
        if anthropic:
            shown = request.header("x-api-key") or shown
        if shown != KEY:
            raise SpecError(401, f"Incorrect API key provided: {shown[-4:]}.")
        if anthropic and not request.header("anthropic-version"):
            raise SpecError(400, "anthropic-version: header is required")
        model = str(request.json.get("model") or request.field("model"))
        if model.startswith("status-"):
            status = int(model.removeprefix("status-"))
            after = [("retry-after", "7")] if status in {429, 503} else []
            raise SpecError(status, f"The model answers {status}.", *after)

    def _found(
        self, table: dict[str, Callable[..., SpecAnswer]], below: str, request: SpecRequest
    ) -> SpecAnswer:
        for pattern, handler in table.items():
            match = re.fullmatch(pattern, f"{request.method} {below}")
            if match is not None:
                answer = handler(request, *match.groups())
                return _halved(answer) if request.json.get("model") == "broken" else answer
        raise SpecError(404, f"Invalid URL ({request.method} {request.path})")


def _halved(answer: SpecAnswer) -> SpecAnswer:
    """Return half of an answer, as if that were all."""
    whole = b"".join(answer.pieces)
    return SpecAnswer((whole[: len(whole) // 2],), content_type=answer.content_type)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED_AT, "owned_by": "spec"}


def _openai_error(error: SpecError) -> dict[str, Any]:
    shown = {"message": str(error), "type": "invalid_request_error", "param": None}
    return {"error": {**shown, "code": f"spec_{error.status}"}}


def _anthropic_error(error: SpecError) -> dict[str, Any]:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": str(error)}, "request_id": "req_1"}


def _fields(request: SpecRequest, answer: SpecAnswer) -> list[tuple[str, str]]:
    """Return the header fields of an answer, those of its API around them."""
    identity = f"req_{request.digest()}"
    anthropic = request.path.startswith("/anthropic/")
    fields = [("content-type", answer.content_type), *answer.headers]
    if anthropic:
        fields += [("request-id", identity), ("anthropic-organization-id", "org-spec")]
        fields += [("anthropic-ratelimit-tokens-remaining", "39000")]
    else:
        fields += [("x-request-id", identity), ("openai-organization", "org-spec")]
        fields += [("openai-processing-ms", "7"), ("openai-version", "2020-10-01")]
        fields += [("x-ratelimit-remaining-tokens", "149984"), ("x-ratelimit-reset-requests", "1s")]
    # The same field twice stays two fields, in order; cookies are between neighbours.
    fields += [("x-ratelimit-note", "first"), ("x-ratelimit-note", "second")]
    fields += [("set-cookie", "__spec=1; path=/; HttpOnly")]
    if answer.sized:
        fields.append(("content-length", str(sum(map(len, answer.pieces)))))
    return fields


class SpecUpstream:
    """A context manager around the server; `exchanges` are those so far, the realtime ones not."""

    def __init__(self) -> None:
        self.exchanges: list[tuple[SpecRequest, SpecAnswer]] = []
        self._api = SpecApi()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._serve, interface="asgi3", lifespan="off", log_config=None, access_log=False
            )
        )
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._listening]},
            name="spec-upstream",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.close()

    def begin(self) -> None:
        """Forget what was asked and kept so far."""
        self.exchanges = []
        self._api = SpecApi()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await _converse(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        fields = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        request = SpecRequest(scope["method"], scope["path"], scope["query_string"], fields, body)
        answer = self._api.answer(request)
        self.exchanges.append((request, answer))
        await _reply(send, request, answer)


async def _reply(send: Send, request: SpecRequest, answer: SpecAnswer) -> None:
    fields = [(name.encode(), value.encode()) for name, value in _fields(request, answer)]
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    for piece in answer.pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        # A turn of the loop lets pieces leave one by one.
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def _converse(scope: Scope, receive: Receive, send: Send) -> None:
    """Hold a realtime conversation until someone ends it; bytes are sent back as they came."""
    fields = dict(scope["headers"])
    await receive()
    if fields.get(b"authorization") != f"Bearer {KEY}".encode() or scope["path"] != "/v1/realtime":
        await send({"type": "websocket.close", "code": 4401})
        return
    model = re.search(r"(?:^|&)model=([^&]+)", scope["query_string"].decode())
    session = RealtimeSession(model[1] if model else "")
    await send({"type": "websocket.accept", "headers": [(b"x-request-id", b"req_realtime")]})
    await send({"type": "websocket.send", "text": session.opened()})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("bytes") is not None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
            continue
        if message["text"] == GOODBYE:
            await send({"type": "websocket.close", "code": 4001, "reason": "session over"})
            return
        for text in session.answers(message["text"]):
            await send({"type": "websocket.send", "text": text})
