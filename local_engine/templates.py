"""Chat messages to a prompt: the template of the model file, rendered in a sandbox.

Templates in model files are programs from strangers (CVE-2024-34359), so they run in jinja2's
immutable sandbox, see nothing but messages and two words, and their output is bounded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from local_engine.errors import EngineUnavailable, InvalidParameter, ModelInvalid, PromptTooLong

try:
    from jinja2 import Template, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:  # comes with the extra, like llama.cpp itself
    ImmutableSandboxedEnvironment = None  # type: ignore[assignment, misc]  # said in `__init__`.

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MAX_TEMPLATE_CHARACTERS = 65_536
CHARACTERS_PER_TOKEN = 256  # more than the longest tokens of known vocabularies have
ROLES = ("system", "developer", "user", "assistant")


@dataclass(slots=True, frozen=True)
class Message:
    """One turn: `role` is system, user or assistant, `content` plain text."""

    role: str
    content: str


class ChatTemplate:
    """A compiled chat template.

    Parameters
    ----------
    source : str or None
        Jinja source; None takes ChatML.
    bos, eos : str
        Text of the model's beginning and end tokens, for templates that write them.
    limit_tokens : int
        Longest prompt; rendering stops where it is certain to be longer.

    Raises
    ------
    ModelInvalid
        The template cannot be compiled.
    """

    def __init__(self, source: str | None, *, bos: str, eos: str, limit_tokens: int) -> None:
        if ImmutableSandboxedEnvironment is None:
            raise EngineUnavailable(
                "the embedded engine needs jinja2, which is not installed;"
                " install the extra: `pip install 'driftgate[local]'`"
            )
        self._words = {"bos_token": bos, "eos_token": eos}
        self._limit_tokens = limit_tokens
        self._template = _compile(source or CHATML)

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt up to where the assistant speaks.

        Raises
        ------
        InvalidParameter
            The template refuses the messages, such as for roles that must alternate.
        PromptTooLong
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        pieces = []
        room = self._limit_tokens * CHARACTERS_PER_TOKEN
        try:
            for piece in self._template.generate(
                messages=turns, add_generation_prompt=True, **self._words
            ):
                pieces.append(piece)
                room -= len(piece)
                if room < 0:
                    raise PromptTooLong(limit_tokens=self._limit_tokens)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise InvalidParameter(
                f"the model's chat template refuses these messages: {error}", param="messages"
            ) from error
        return "".join(pieces)


def parse_messages(value: object) -> list[Message]:
    """Return checked messages of an OpenAI request.

    `content` is text or a list of text parts; `developer` is read as `system`.

    Raises
    ------
    InvalidParameter
        With `param` naming the place, such as ``messages[1].content``.
    """
    if not isinstance(value, list) or not value:
        raise InvalidParameter("`messages` must be a non-empty list", param="messages")
    return [_message(item, f"messages[{index}]") for index, item in enumerate(value)]


def _message(item: object, where: str) -> Message:
    if not isinstance(item, Mapping):
        raise InvalidParameter(f"`{where}` must be an object", param=where)
    role = item.get("role")
    if role not in ROLES:
        raise InvalidParameter(
            f"`{where}.role` is {role!r}; the embedded engine takes {', '.join(ROLES)}",
            param=f"{where}.role",
        )
    if item.get("tool_calls"):
        raise InvalidParameter(
            f"`{where}.tool_calls` is set; the embedded engine has no tools",
            param=f"{where}.tool_calls",
        )
    content = _content(item.get("content"), f"{where}.content")
    return Message("system" if role == "developer" else str(role), content)


def _content(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise InvalidParameter(f"`{where}` must be text or a list of text parts", param=where)
    texts = []
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text") if isinstance(part, Mapping) else None
        if kind != "text" or not isinstance(text, str):
            raise InvalidParameter(
                f"`{where}[{index}]` is of type {kind!r}; the embedded engine reads text only",
                param=f"{where}[{index}]",
            )
        texts.append(text)
    return "".join(texts)


def _compile(source: str) -> "Template":
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise ModelInvalid(
            f"the model's chat template has {len(source)} characters;"
            f" at most {MAX_TEMPLATE_CHARACTERS} are accepted"
        )
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Prompts are no HTML.
        extensions=["jinja2.ext.loopcontrols"],
    )
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise ModelInvalid(f"the model's chat template is not valid Jinja: {error}") from error


def _refuse(message: object) -> NoReturn:
    raise TemplateError(str(message))
