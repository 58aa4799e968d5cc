"""Signals of recorded requests: composed of the wire protocol's words and the monitors' eyes."""

from collections.abc import Sequence

from msgspec.structs import replace

from gateway.embeddings import Projector, embedding_row
from gateway.inputs import inputs_of
from gateway.predictions import NOTHING, predicted_of
from gateway.protocols.asked import Asked
from gateway.protocols.protocol import Texts
from gateway.protocols.table import protocol_named
from monitors.signals.extract import Answered, extract
from storage.records import End, Signals


def enrich(ends: Sequence[End]) -> list[Signals]:
    """Return what can be watched of each record; text that was not kept gives None."""
    names = {end.prediction.protocol for end in ends}
    texts = {name: protocol_named(name).texts for name in names}
    projector = Projector()
    return [
        _with_inputs(end, _signals(end, texts[end.prediction.protocol]), projector) for end in ends
    ]


def _with_inputs(end: End, signals: Signals, projector: Projector) -> Signals:
    embedded = embedding_row(end, projector)
    if embedded is not None:
        return replace(signals, inputs=[embedded])
    inputs, told = inputs_of(end), predicted_of(end)
    if not inputs and told is NOTHING:
        return signals
    prediction, confidence = told
    return replace(signals, inputs=inputs, prediction=prediction, confidence=confidence)


def _signals(end: End, texts: Texts) -> Signals:
    payload, prediction = end.payload, end.prediction
    if payload is None:
        return extract(None, None, prediction)
    asked = None if payload.request_truncated else texts.asked(payload.request)
    prompt = None if asked is None else asked.prompt
    failed = prediction.status >= 400 or prediction.reason is not None
    if failed or payload.response_truncated:
        return extract(prompt, None, prediction)
    answer = texts.answer(payload.response, payload.response_type)
    schema = None if asked is None else asked.schema()
    answered = Answered(schema, _unknown_tool(end, texts, asked))
    return extract(prompt, answer, prediction, answered)


def _unknown_tool(end: End, texts: Texts, asked: Asked | None) -> bool | None:
    """Say whether an answer calls what the request did not lend."""
    calls, payload = end.prediction.tool_calls, end.payload
    if calls == 0:
        return False
    if calls is None or asked is None or payload is None:
        return None
    called = texts.called(payload.response, payload.response_type)
    return not called <= asked.offered() if called else None
