"""The seam of wire protocols: what the data plane asks of one, and nothing else.

A protocol is a table of operations. An `Operation` says where a request names its model and who
may answer it, and carries the readers from which taps are built. `gateway.protocols.table` finds
the operation of a method and path; whatever no protocol claims below ``/v1`` is passed through.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from gateway.protocols.asked import Asked
from gateway.protocols.facts import Facts
from gateway.sse import Event

BodyKind = Literal["json", "form", "opaque", "none", "unknown"]
"""``json``: peeked at; ``form``: multipart with named fields, or JSON; ``opaque``: never read;
``none``: there is none; ``unknown``: looked into for a model, and never changed."""

ModelPlace = Literal["body", "query", "path", "nowhere"]

MAX_MODEL_CHARS = 512  # it is recorded, and repeated in messages


class StreamOptions(msgspec.Struct, gc=False):
    """`stream_options` of a request."""

    include_usage: bool = False


class Peek(msgspec.Struct):
    """What routing needs of a request, whatever the protocol.

    Attributes
    ----------
    model : str
        "" when none is named.
    user, safety_identifier : str or None
        Who asks, in the client's words: the sticky key.
    refers : bool
        The body names something that one upstream keeps (`previous_response_id`, say).
    reference : str
        What it names, "" for nothing.
    """

    model: str = ""
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    stream_options: StreamOptions | None = None

    @property
    def refers(self) -> bool:
        """Say whether only the upstream that keeps what it names can answer."""
        return False

    @property
    def reference(self) -> str:
        """Return what one upstream keeps and the request goes on from."""
        return ""


class AnswerError(ValueError):
    """An answer is an error of the protocol, whatever its status says."""


class AnswerInvalid(ValueError):
    """An answer is not what the protocol sends."""


CONTENT = 1
"""It carries something of the answer: the commit point."""
LAST = 2
"""It ends the answer well; nothing of it follows."""
USAGE_ONLY = 4
"""It carries the usage alone: hidden from clients that did not ask for it."""
FAILED = 8
"""It ends the answer as an error, in a shape that clients of the protocol understand."""


class EventReader(Protocol):
    """Reads the events of one stream, in order; made anew for each.

    Attributes
    ----------
    closing : bytes
        What a finished stream lacks when its bytes end without a `LAST` event, b"" for nothing.
    """

    closing: bytes

    def read(self, event: Event, facts: Facts) -> int:
        """Return what an event is (bits above); facts are noted.

        Raises
        ------
        AnswerError, AnswerInvalid, msgspec.DecodeError
        """
        ...

    def read_data(self, data: bytes, facts: Facts) -> int:
        """Do the same for an event of one `data:` line and no name: nearly every one."""
        ...

    def finished(self, facts: Facts) -> bool:
        """Say whether a stream whose bytes end here is a whole answer."""
        ...


AnswerReader = Callable[[bytes, Facts], None]
"""Judges a plain answer and notes its facts; raises AnswerError, AnswerInvalid, DecodeError."""


class Texts(Protocol):
    """The words of recorded requests and answers, read at ingest, far from the hot path."""

    def asked(self, request: bytes) -> Asked | None:
        """Return what the client asked, None when the body cannot be read."""
        ...

    def called(self, response: bytes, response_type: str) -> frozenset[str]:
        """Return the names of the tools that an answer calls; none where they cannot be read."""
        ...

    def answer(self, response: bytes, response_type: str) -> str | None:
        """Return what the model said, joined from events if streamed; None without any."""
        ...

    def stream_of(self, text: str) -> bytes:
        """Return a stream that says a text: what is stored in place of a redacted one."""
        ...


class WireProtocol(Protocol):
    """A family of paths with one way of writing requests, answers and errors.

    Attributes
    ----------
    name : str
        The record's `protocol`.
    """

    name: str
    texts: Texts

    def find(self, method: str, path: str) -> "Operation | None":
        """Return the operation of a path, None when it is not this protocol's.

        Raises
        ------
        MethodNotAllowed, NotFound
            The path is this protocol's, but not with this method, or not from outside.
        """
        ...

    def is_error(self, body: bytes) -> bool:
        """Say whether a refusal's body is an error as clients of this protocol expect it."""
        ...

    def error_body(self, message: str, *, type_: str, code: str | None, param: str | None) -> bytes:
        """Return an error of this gateway's as this protocol writes it.

        `type_` and `code` are OpenAI's words; other protocols translate them.
        """
        ...

    def error_event(self, message: str, *, type_: str, code: str) -> bytes:
        """Return the event that tells a client within a stream that it failed."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One thing clients ask for.

    Attributes
    ----------
    name : str
        The record's `operation`; of a closed list, so that it can be a metric's label.
    body : BodyKind
    model_in : ModelPlace
        Where the model's name stands.
    model_required : bool
        A request without it is refused here, with a message that says so.
    stateful : bool
        Only the upstream that keeps the object can answer: no split, no fallback, no shadow.
    repeatable : bool
        Sending it a second time does no harm: it creates nothing that stays.
    cacheable : bool
    usage_option : bool
        A stream carries its usage only when `stream_options.include_usage` asks for it.
    engine : bool
        The embedded engine answers it.
    peek : callable or None
        Reads what routing needs of a JSON body; raises `InvalidRequest`.
    answer : callable or None
        Judges a plain answer, which is then held until it is complete.
    events : callable or None
        Makes the judge of a streamed answer.
    upgrade : bool
        The connection may change to a WebSocket, whose messages `events` then reads.
    keeps : bool
        An answer's `id` names something that its upstream keeps, to be asked for again.
    root : bool
        Its path lies beside `/v1`, here and at upstreams.
    strict : bool
        False: answers are passed as they come, the readers only look on for the record.
    """

    name: str
    protocol: WireProtocol
    body: BodyKind = "opaque"
    model_in: ModelPlace = "nowhere"
    model_required: bool = False
    stateful: bool = False
    repeatable: bool = True
    cacheable: bool = False
    usage_option: bool = False
    engine: bool = False
    upgrade: bool = False
    peek: Callable[[bytes], Peek] | None = None
    answer: AnswerReader | None = None
    events: Callable[[], EventReader] | None = None
    strict: bool = False
    keeps: bool = False
    root: bool = False

    @property
    def edits_model(self) -> bool:
        """Say whether an upstream's own model name may be written in place of the client's."""
        return self.model_in == "query" or self.body in {"json", "form"}
