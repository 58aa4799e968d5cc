"""Signals of recorded requests: composed of the wire protocol's words and the monitors' eyes."""

from collections.abc import Sequence

from msgspec.structs import replace

from gateway.inputs import inputs_of
from gateway.protocols.protocol import Texts
from gateway.protocols.table import protocol_named
from monitors.signals.extract import extract
from storage.records import End, Signals


def enrich(ends: Sequence[End]) -> list[Signals]:
    """Return what can be watched of each record; text that was not kept gives None."""
    names = {end.prediction.protocol for end in ends}
    texts = {name: protocol_named(name).texts for name in names}
    return [_with_inputs(end, _signals(end, texts[end.prediction.protocol])) for end in ends]


def _with_inputs(end: End, signals: Signals) -> Signals:
    inputs = inputs_of(end)
    return replace(signals, inputs=inputs) if inputs else signals


def _signals(end: End, texts: Texts) -> Signals:
    payload, prediction = end.payload, end.prediction
    if payload is None:
        return extract(None, None, prediction)
    prompt = None if payload.request_truncated else texts.prompt(payload.request)
    failed = prediction.status >= 400 or prediction.reason is not None
    failed = failed or payload.response_truncated
    answer = None if failed else texts.answer(payload.response, payload.response_type)
    return extract(prompt, answer, prediction)
