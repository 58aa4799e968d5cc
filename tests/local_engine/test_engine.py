import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from local_engine.config import EngineConfig
from local_engine.engine import Engine
from local_engine.errors import (
    EngineBusy,
    EngineClosed,
    InvalidParameter,
    ModelInvalid,
    PromptTooLong,
)
from local_engine.generation import Generation, GenerationEvent, GenerationRequest
from local_engine.models import ModelFile
from local_engine.sampling import Sampling
from local_engine.templates import Message

GREEDY = Sampling(temperature=0)


def _request(engine: Engine, text: str, **options: object) -> GenerationRequest:
    prompt = engine.tokenize(engine.render([Message("user", text)]))
    return GenerationRequest(prompt=prompt, **options)  # type: ignore[arg-type]  # Shorter tests.


async def _read(generation: Generation) -> list[GenerationEvent]:
    async with asyncio.timeout(30):
        return [event async for event in generation]


def _generate(engine: Engine, request: GenerationRequest) -> tuple[str, GenerationEvent]:
    async def run() -> list[GenerationEvent]:
        return await _read(engine.submit(request))

    events = asyncio.run(run())
    return "".join(event.text for event in events), events[-1]


async def _until(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - the engine's thread has no event to await.
            await asyncio.sleep(0.005)


def test_a_question_is_answered(engine: Engine) -> None:
    """The real model, by its own template, knows this and stops by itself."""
    request = _request(engine, "What is 2+2?", sampling=GREEDY, max_tokens=40)
    text, last = _generate(engine, request)
    assert "4" in text
    assert last.finish_reason == "stop"


def test_token_counts_are_those_of_the_text(engine: Engine) -> None:
    """What is counted is what a tokeniser counts in the answer."""
    request = _request(engine, "Say: one two three", sampling=GREEDY, max_tokens=12)
    text, last = _generate(engine, request)
    assert last.token_count == len(engine.tokenize(text, special=False))


def test_max_tokens_ends_with_length(engine: Engine) -> None:
    """Exactly as many tokens as were asked for."""
    request = _request(engine, "Tell me a long story.", sampling=GREEDY, max_tokens=7)
    _, last = _generate(engine, request)
    assert (last.token_count, last.finish_reason) == (7, "length")


def test_the_context_bounds_an_answer(engine: Engine) -> None:
    """A prompt that nearly fills the slot gets what is left."""
    prompt = engine.tokenize("word " * 300)[: engine.context_tokens - 3]
    assert len(prompt) == engine.context_tokens - 3
    _, last = _generate(engine, GenerationRequest(prompt=prompt, max_tokens=50))
    assert last.token_count <= 3


def test_a_prompt_without_room_for_an_answer_is_refused(engine: Engine) -> None:
    """The error carries both numbers."""
    with pytest.raises(PromptTooLong) as caught:
        engine.submit(GenerationRequest(prompt=[5] * engine.context_tokens))
    assert caught.value.prompt_tokens == engine.context_tokens
    assert caught.value.limit_tokens == engine.context_tokens - 1


def test_a_gigantic_text_is_refused_before_it_is_tokenised(engine: Engine) -> None:
    """Tokenising is linear, but not free."""
    with pytest.raises(PromptTooLong, match="far too many"):
        engine.tokenize("x" * 200_000)


def test_the_same_seed_gives_the_same_text(engine: Engine) -> None:
    """And another seed another one."""

    def text(seed: int) -> str:
        sampling = Sampling(temperature=1.0, seed=seed)
        request = _request(engine, "Invent a name.", sampling=sampling, max_tokens=16)
        return _generate(engine, request)[0]

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(1, 5)}) > 1


def test_a_stop_string_ends_the_text_and_is_not_in_it(engine: Engine) -> None:
    """It lies across token borders here: part of a word and of the next."""
    plain = _request(engine, "What color is the sky?", sampling=GREEDY, max_tokens=40)
    whole, _ = _generate(engine, plain)
    middle = len(whole) // 2
    stop = whole[middle - 2 : middle + 2]
    request = _request(
        engine, "What color is the sky?", sampling=GREEDY, max_tokens=40, stops=(stop,)
    )
    text, last = _generate(engine, request)
    assert text == whole[: whole.index(stop)]
    assert last.finish_reason == "stop"


def test_penalties_change_what_is_said(engine: Engine) -> None:
    """A strong repetition penalty leads elsewhere."""
    texts = set()
    for penalty in (1.0, 2.0):
        sampling = Sampling(temperature=0, repeat_penalty=penalty)
        request = _request(engine, "Repeat: a a a a a a", sampling=sampling, max_tokens=20)
        texts.add(_generate(engine, request)[0])
    assert len(texts) == 2


def test_four_streams_move_together(engine: Engine) -> None:
    """Each has said something before any has finished."""
    order: list[int] = []

    async def follow(name: int) -> None:
        nonlocal order
        sampling = Sampling(seed=name)
        request = _request(engine, "Tell a story.", sampling=sampling, max_tokens=24)
        async for _event in engine.submit(request):
            order += [name]

    async def run() -> None:
        await asyncio.gather(*(follow(name) for name in range(4)))

    asyncio.run(run())
    firsts = [order.index(name) for name in range(4)]
    lasts = [len(order) - 1 - order[::-1].index(name) for name in range(4)]
    assert max(firsts) < min(lasts)


def test_a_long_prompt_does_not_stop_a_running_stream(engine: Engine) -> None:
    """While 250 tokens of prompt are read in pieces, the stream goes on."""

    async def run() -> int:
        story = engine.submit(_request(engine, "Tell a story.", max_tokens=200))
        await anext(story)
        late = engine.submit(GenerationRequest(prompt=[5] * 250, max_tokens=1))
        reader = asyncio.ensure_future(_read(late))
        between = 0
        while not reader.done():
            await anext(story)
            between += 1
        story.cancel()
        return between

    assert asyncio.run(run()) >= 2


def test_a_cancelled_generation_frees_its_slot(engine: Engine) -> None:
    """At once, and it is counted."""

    async def run() -> float:
        before = engine.statistics().scheduler.cancelled_total
        generation = engine.submit(_request(engine, "Tell a story.", max_tokens=200))
        await anext(generation)
        started_s = time.monotonic()
        generation.cancel()
        await _until(lambda: engine.statistics().scheduler.slots_busy == 0)
        assert engine.statistics().scheduler.cancelled_total == before + 1
        assert [event async for event in generation] == []
        return time.monotonic() - started_s

    assert asyncio.run(run()) < 2.0


def test_cancelling_what_has_finished_is_not_counted(engine: Engine) -> None:
    """Every reader cancels when it leaves."""
    before = engine.statistics().scheduler.cancelled_total

    async def run() -> None:
        generation = engine.submit(_request(engine, "Hi", max_tokens=2))
        await _read(generation)
        generation.cancel()

    asyncio.run(run())
    assert engine.statistics().scheduler.cancelled_total == before


def test_the_waiting_line_is_bounded(engine: Engine) -> None:
    """Four run and four wait; the ninth is refused, and all eight end."""

    async def run() -> None:
        requests = [_request(engine, "Tell a story.", max_tokens=8) for _ in range(8)]
        running = [engine.submit(request) for request in requests]
        with pytest.raises(EngineBusy, match=r"engine\.max_queue"):
            engine.submit(requests[0])
        await asyncio.gather(*(_read(generation) for generation in running))

    asyncio.run(run())


def test_who_is_cancelled_while_waiting_never_runs(engine: Engine) -> None:
    """Its place is free at once."""

    async def run() -> None:
        requests = [_request(engine, "Tell a story.", max_tokens=30) for _ in range(9)]
        running = [engine.submit(request) for request in requests[:8]]
        running.pop().cancel()
        running.append(engine.submit(requests[8]))
        for generation in running:
            generation.cancel()
        await _until(lambda: engine.statistics().scheduler.slots_busy == 0)
        assert engine.statistics().scheduler.waiting == 0

    asyncio.run(run())


def test_a_token_that_does_not_exist_fails_one_request_only(engine: Engine) -> None:
    """llama.cpp refuses the batch, the request is told, and the next one is answered."""

    async def run() -> None:
        with pytest.raises(Exception, match="refused a batch"):
            await _read(engine.submit(GenerationRequest(prompt=[2**30])))

    asyncio.run(run())
    text, _ = _generate(engine, _request(engine, "What is 2+2?", sampling=GREEDY, max_tokens=15))
    assert "4" in text


def test_embeddings_are_unit_vectors_that_mean_something(engine: Engine) -> None:
    """Two sentences about cats are closer than one about taxes."""
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Tax returns are due."]
    tokens = [engine.tokenize(text) for text in texts]
    cat, kitten, tax = asyncio.run(engine.embed(tokens))

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert len(cat) == engine.statistics().embedding_size
    assert dot(cat, cat) == pytest.approx(1, abs=1e-6)
    assert dot(cat, kitten) > dot(cat, tax)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [([[5] * 65], PromptTooLong), ([[]], InvalidParameter), ([], InvalidParameter)],
)
def test_texts_that_cannot_be_embedded_are_refused(
    engine: Engine, texts: list[list[int]], kind: type[Exception]
) -> None:
    """Too long, empty, none."""
    with pytest.raises(kind):
        asyncio.run(engine.embed(texts))


def test_the_same_text_is_embedded_the_same_beside_others(engine: Engine) -> None:
    """Nothing of the text before stays in the context."""
    tokens = engine.tokenize("The cat sleeps.")
    alone, *_ = asyncio.run(engine.embed([tokens]))
    *_, last = asyncio.run(engine.embed([engine.tokenize("Something else first."), tokens]))
    assert last == pytest.approx(alone, abs=1e-5)


def test_closing_ends_what_runs(model_file: ModelFile) -> None:
    """Running, waiting and embedding requests are told, later ones refused."""
    engine = Engine.load(EngineConfig(slots=1, context_tokens=256, threads=1), model_file)

    async def told(work: Awaitable[object]) -> None:
        with pytest.raises(EngineClosed):
            await work

    async def run() -> None:
        requests = [_request(engine, "Tell a story.", max_tokens=200) for _ in range(2)]
        readers = [_read(engine.submit(request)) for request in requests]
        assert await asyncio.to_thread(engine.close)
        await asyncio.gather(*(told(reader) for reader in readers))
        with pytest.raises(EngineClosed):
            engine.submit(requests[0])

    asyncio.run(run())


def test_a_truncated_model_is_refused(damaged: Path) -> None:
    """llama.cpp's own reason is in the message."""
    file = ModelFile(name="damaged", path=damaged, digest="")
    with pytest.raises(ModelInvalid, match="corrupted or incomplete"):
        Engine.load(EngineConfig(), file)


def test_statistics_say_what_runs(engine: Engine) -> None:
    """Model, device and work are there."""
    numbers = engine.statistics()
    assert numbers.model == "smollm2-135m-instruct"
    assert numbers.scheduler.slots == 4
    assert numbers.scheduler.slots_busy == 0
    assert numbers.scheduler.tokens_total > 0
    assert numbers.scheduler.tokens_per_s > 0
    assert numbers.scheduler.step_age_s == 0


def test_control_words_are_text_unless_asked_for(engine: Engine) -> None:
    """One token in a prompt that a template wrote, several in a text that is embedded."""
    assert len(engine.tokenize("<|im_end|>")) == 1
    assert len(engine.tokenize("<|im_end|>", special=False)) > 1


@pytest.mark.parametrize("missing", ["llama_cpp", "jinja2"])
def test_without_its_extra_the_engine_says_what_to_install(missing: str) -> None:
    """Importing works without it; only loading a model needs it."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from local_engine.config import EngineConfig
from local_engine.engine import Engine
from local_engine.errors import EngineUnavailable
from local_engine.models import model_places, resolve_model
file = resolve_model("smollm2-135m-instruct", model_places("unused", {{}}))
try:
    Engine.load(EngineConfig(context_tokens=64, slots=1), file)
except EngineUnavailable as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert "pip install 'driftgate[local]'" in done.stdout
