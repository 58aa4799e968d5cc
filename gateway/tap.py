"""Reads answers beside the relay: is it one, has it content, how did it end, what did it use.

A tap judges by protocol, not by status alone: model servers answer 200 to their own failures.
It implements `router.outcome.Tap`; the facts it gathers go into the record.
"""

from dataclasses import dataclass, field

import msgspec

from gateway.protocols import openai
from gateway.retry_after import retry_after_s
from router.errors import Reason, UpstreamFault
from router.upstream import Headers

ERROR_BYTES = 65_536
"""Kept of a refusal, however little is kept of answers: it is held whole and judged."""

_MAX_TOKENS = 2**31  # of the record's columns


@dataclass(slots=True)
class Facts:
    """What an answer says of itself; None is unknown."""

    model_answered: str | None = None
    version: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def take_usage(self, usage: openai.Usage | None) -> None:
        """Keep the newest usage; servers that count along send it in every event."""
        if usage is None:
            return
        self.prompt_tokens = _count(usage.prompt_tokens)
        self.response_tokens = _count(usage.completion_tokens)
        if usage.prompt_tokens_details is not None:
            self.cached_tokens = _count(usage.prompt_tokens_details.cached_tokens)
        if usage.completion_tokens_details is not None:
            self.reasoning_tokens = _count(usage.completion_tokens_details.reasoning_tokens)


@dataclass(slots=True)
class BaseTap:
    """What every tap does: judge the head, keep a bounded copy of the body for the record.

    Attributes
    ----------
    keep_bytes : int
        Of the body, at most.
    done : bool
        The answer's own end mark was read; whatever follows is dropped.
    forwards_credentials : bool
        The upstream saw the client's key, so its 401 and 403 are the client's.
    """

    operation: str
    keep_bytes: int
    stream: bool = False
    done: bool = False
    content_events: int = 0
    status: int = 0
    headers: Headers = field(default_factory=list)
    content_type: str = ""
    received_bytes: int = 0
    truncated: bool = False
    facts: Facts = field(default_factory=Facts)
    forwards_credentials: bool = False
    _ready: list[bytes] = field(default_factory=list)
    _kept: list[bytes] = field(default_factory=list)
    _kept_bytes: int = 0

    def head(self, status: int, headers: Headers) -> None:
        """Judge status and headers.

        Raises
        ------
        UpstreamFault
            Anything but a success or the caller's own error.
        """
        self.status = status
        self.headers = headers
        self.content_type = header_value(headers, b"content-type").decode("latin-1").lower()
        reason = _fault_of_status(status, keys_are_ours=not self.forwards_credentials)
        if reason is not None:
            raise UpstreamFault(
                f"the upstream answered {status}",
                reason=reason,
                status=status,
                retry_after_s=retry_after_s(header_value(headers, b"retry-after")),
            )
        encoding = header_value(headers, b"content-encoding").lower()
        if encoding not in {b"", b"identity"} and self.operation in openai.CACHEABLE:
            raise self._invalid(
                f"the answer is encoded as {encoding.decode('latin-1')}, not asked for"
            )

    @property
    def is_client_error(self) -> bool:
        """Say whether the upstream refused the request itself."""
        return 400 <= self.status < 500

    def take(self) -> bytes:
        """Return the bytes of a stream that may go to the client now."""
        if len(self._ready) == 1:
            return self._ready.pop()
        ready, self._ready = self._ready, []
        return b"".join(ready)

    @property
    def body(self) -> bytes:
        """Return what was kept of the body."""
        return b"".join(self._kept)

    def _keep(self, chunk: bytes) -> None:
        self.received_bytes += len(chunk)
        room = self.keep_bytes - self._kept_bytes
        if len(chunk) > room:
            self.truncated = True
            chunk = chunk[:room]
        if chunk:
            self._kept.append(chunk)
            self._kept_bytes += len(chunk)

    def _invalid(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, reason=Reason.UPSTREAM_INVALID, status=self.status)


@dataclass(slots=True)
class PlainTap(BaseTap):
    """A JSON answer held until it is complete and valid."""

    def feed(self, chunk: bytes) -> bool:
        """Keep a chunk; a plain answer commits only when complete."""
        self._keep(chunk)
        return False

    def end(self) -> None:
        """Judge the whole body; a caller's error passes whatever its body is."""
        if self.is_client_error:
            return
        try:
            answer = openai.read_answer(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._invalid(f"the answer is not JSON of its kind: {error}") from error
        if openai.is_given(answer.error) or answer.object == "error":
            raise UpstreamFault(
                "the upstream answered 200 with an error",
                reason=Reason.UPSTREAM_ERROR,
                status=self.status,
            )
        if not openai.is_complete(self.operation, answer):
            raise self._invalid("the answer carries neither `choices` nor `data`")
        self.content_events = 1
        facts = self.facts
        facts.model_answered, facts.version = answer.model, answer.system_fingerprint
        facts.take_usage(answer.usage)
        if answer.choices:
            facts.finish_reason = answer.choices[0].finish_reason


@dataclass(slots=True)
class PassTap(BaseTap):
    """Any other path: relayed as it comes, recorded with what the head says."""

    stream: bool = True

    def head(self, status: int, headers: Headers) -> None:
        """Judge the head; a refusal is held until it is complete."""
        BaseTap.head(self, status, headers)
        if self.is_client_error:
            self.stream = False
            self.keep_bytes = max(self.keep_bytes, ERROR_BYTES)

    def feed(self, chunk: bytes) -> bool:
        """Commit with the first byte."""
        self._keep(chunk)
        if not self.stream:
            return False
        self._ready.append(chunk)
        self.content_events += 1
        return True

    def end(self) -> None:
        """Accept any complete body."""


def _count(value: object) -> int | None:
    """Return a number of tokens as the record can hold it; what is none is unknown."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_TOKENS:
        return None
    return value


def header_value(headers: Headers, name: bytes) -> bytes:
    """Return a header's first value, b"" if absent; `name` in lower case."""
    for key, value in headers:
        if len(key) == len(name) and key.lower() == name:
            return value
    return b""


def _fault_of_status(status: int, *, keys_are_ours: bool) -> Reason | None:
    """Classify a status; None passes (2xx, and 4xx that are the caller's)."""
    if 200 <= status < 300:
        return None
    if status == 429:
        return Reason.UPSTREAM_LIMITED
    if status == 408:
        return Reason.UPSTREAM_TIMEOUT
    if status in {401, 403} and keys_are_ours:
        return Reason.UPSTREAM_AUTH
    if 400 <= status < 500:
        return None
    if status >= 500:
        return Reason.UPSTREAM_ERROR
    return Reason.UPSTREAM_INVALID
