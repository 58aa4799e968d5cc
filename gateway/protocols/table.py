"""All wire protocols, and which of them a request speaks."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from gateway.errors import NotFound
from gateway.protocols.anthropic import PATH as ANTHROPIC_PATH
from gateway.protocols.anthropic import Anthropic
from gateway.protocols.openai_paths import PREFIX, OpenAI
from gateway.protocols.passing import PassThrough
from gateway.protocols.protocol import Operation, WireProtocol

OPENAI = OpenAI()
ANTHROPIC = Anthropic()
PROTOCOLS: tuple[WireProtocol, ...] = (OPENAI, ANTHROPIC, PassThrough())
"""In the order in which they are asked for a path; the last takes what is left below `/v1`."""

_USUAL: Mapping[str, Operation] = MappingProxyType({**OPENAI.asked, **ANTHROPIC.asked})
"""What is asked by POST at a path of its own: found without looking for tricks."""

# Ways up, and what some server reads as one: encoded twice, as %u, with a parameter, or needlessly
# (RFC 3986 §2.3 lets everyone decode letters, digits and `-._~` first).
_BAD_PATH = re.compile(
    r"//|(/|%2f)\.{1,2}(/|%2f|;|$)|\\|%5c|%25[0-9a-f]|%(?![0-9a-f]{2})"
    r"|%(?:3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae]|2[de])|%[01][0-9a-f]|%7f|^/v1/[^/]*%",
    re.IGNORECASE,
)


def is_inference_path(path: str) -> bool:
    """Say whether a path is for models; the others are about the gateway itself."""
    return path.startswith(PREFIX) or path in _USUAL


def find_operation(method: str, path: str) -> Operation:
    """Return what a request asks for.

    Raises
    ------
    NotFound
        No protocol has the path, or it tries to climb out of where it is.
    MethodNotAllowed
    """
    usual = _USUAL.get(path)
    if usual is not None and method == "POST":
        return usual
    if _BAD_PATH.search(path) or ("%" in path and not _is_utf8(path)):
        raise NotFound(f"There is no path `{path}` here.")
    for protocol in PROTOCOLS:
        operation = protocol.find(method, path)
        if operation is not None:
            return operation
    raise NotFound(f"There is no path `{path}` here.")


def _is_utf8(path: str) -> bool:
    """Say whether a path's escapes are text; overlong forms of dots and slashes are none."""
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def protocol_of(path: str) -> WireProtocol:
    """Return in whose words a request is refused, before anything else is known of it."""
    return ANTHROPIC if path.startswith(ANTHROPIC_PATH) else OPENAI


def protocol_named(name: str) -> WireProtocol:
    """Return the protocol of a record; OpenAI's for names of other versions."""
    return next((one for one in PROTOCOLS if one.name == name), OPENAI)
