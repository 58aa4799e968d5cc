import pytest

from local_engine.errors import InvalidParameter, ModelInvalid, PromptTooLong
from local_engine.templates import ChatTemplate, Message, parse_messages


def _template(source: str | None, *, limit_tokens: int = 100) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>", limit_tokens=limit_tokens)


def test_without_a_template_chatml_is_written() -> None:
    """Models without metadata get the most common form."""
    text = _template(None).render([Message("user", "Hi")])
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_templates_see_the_special_tokens() -> None:
    """`bos_token` and `eos_token` are the model's."""
    assert _template("{{ bos_token }}x{{ eos_token }}").render([]) == "<s>x</s>"


def test_a_template_may_refuse() -> None:
    """`raise_exception` becomes the caller's error."""
    template = _template("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(InvalidParameter, match="roles must alternate"):
        template.render([Message("user", "Hi")])


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_a_hostile_template_stays_in_its_sandbox(source: str) -> None:
    """Reaching for Python's insides, changing the messages and endless ranges are refused."""
    with pytest.raises(InvalidParameter):
        _template(source).render([Message("user", "Hi")])


def test_a_template_that_writes_without_end_is_stopped() -> None:
    """Output is bounded while it is made."""
    template = _template("{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}")
    with pytest.raises(PromptTooLong):
        template.render([Message("user", "Hi")])


def test_a_broken_template_is_the_models_fault() -> None:
    """It is found when the model is loaded."""
    with pytest.raises(ModelInvalid, match="not valid Jinja"):
        _template("{% for %}")


def test_text_parts_are_joined_and_developer_is_system() -> None:
    """Both forms of content are read."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = parse_messages(
        [{"role": "developer", "content": parts}, {"role": "user", "content": "c"}]
    )
    assert messages == [Message("system", "ab"), Message("user", "c")]


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        (["hi"], "messages[0]"),
        ([{"role": "tool", "content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "assistant", "tool_calls": [{}]}], "messages[0].tool_calls"),
    ],
)
def test_messages_that_cannot_be_read_are_named(value: object, param: str) -> None:
    """The error says which place is wrong."""
    with pytest.raises(InvalidParameter) as caught:
        parse_messages(value)
    assert caught.value.param == param
