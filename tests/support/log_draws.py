"""Records as hypothesis draws them: few names, many kinds of numbers, times on every border."""

from hypothesis import strategies as st
from msgspec.structs import replace
from support.log_records import NOW, end_of

from storage.records import Attempt, End, Signals
from storage.rollups.state import SLOT_US
from storage.times import HOUR_US

FIRST = NOW - NOW % HOUR_US
SPAN_US = 3 * HOUR_US

TIMES = st.one_of(
    st.integers(0, SPAN_US - 1),
    st.builds(
        lambda slot, off: min(max(0, slot * SLOT_US + off), SPAN_US - 1),
        st.integers(0, SPAN_US // SLOT_US),
        st.integers(-1, 1),
    ),
).map(lambda offset: FIRST + offset)

_SECONDS = st.one_of(
    st.floats(0, 400),
    st.sampled_from([0.0, 1e-6, 1e-9, 1e9]),
)
_TOKENS = st.none() | st.integers(0, 5) | st.integers(0, 2**40)
_FACTS = st.fixed_dictionaries(
    {
        "started_at": TIMES,
        "route": st.sampled_from(["chat", "code"]),
        "variant": st.sampled_from(["primary", "candidate"]),
        "role": st.sampled_from(["primary", "primary", "shadow"]),
        "upstream": st.sampled_from(["", "a"]),
        "cache": st.sampled_from(["hit", "miss"]),
        "status": st.sampled_from([200, 200, 404, 502, 0]),
        "reason": st.sampled_from([None, None, "interrupted", "client_closed", "internal"]),
        "model_answered": st.sampled_from([None, "m-2"]),
        "stream": st.booleans(),
        "fallback_from": st.sampled_from([None, "b"]),
        "truncated": st.booleans(),
        "attempts": st.integers(0, 3),
        "latency_s": _SECONDS,
        "overhead_s": _SECONDS,
        "ttft_s": st.none() | _SECONDS,
        "prompt_tokens": _TOKENS,
        "response_tokens": _TOKENS,
        "cached_tokens": _TOKENS,
        "reasoning_tokens": _TOKENS,
        "cost_usd": st.none() | st.floats(0, 1) | st.just(float("inf")),
        "request_bytes": st.integers(0, 2**40),
        "finish_reason": st.sampled_from([None, "stop", "x" * 70, "x" * 64]),
    }
)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[End, Signals]]:
    """Draw up to 12 records with what can be watched of them."""
    found = []
    for number, facts in enumerate(draw(st.lists(_FACTS, max_size=12))):
        end = end_of(number, text=False, **facts)
        tries = tuple(
            Attempt(no + 1, name, end.prediction.started_at + late, 0.1 * no, 200, reason)
            for no, (name, late, reason) in enumerate(
                draw(
                    st.lists(
                        st.tuples(
                            st.sampled_from(["a", "b"]),
                            st.sampled_from([0, SLOT_US - 1]),
                            st.sampled_from([None, "upstream_timeout"]),
                        ),
                        max_size=2,
                    )
                )
            )
        )
        signals = Signals(
            end.prediction.id,
            prompt_chars=draw(st.none() | st.integers(0, 10**6)),
            language=draw(st.sampled_from([None, "en", "de"])),
            answer_language=draw(st.sampled_from([None, "en", "fr"])),
            refusal=draw(st.sampled_from([None, True, False])),
            json_valid=draw(st.sampled_from([None, True, False])),
            prediction=draw(st.sampled_from([None, "spam", "7", "-0.25", "1234"])),
            confidence=draw(st.sampled_from([None, 0.5])),
        )
        found.append((End(end.prediction, tries), signals))
    return found


WINDOWS = st.tuples(TIMES, TIMES).map(lambda pair: (min(pair), max(pair) + 1))


def moved(end: End, later_us: int) -> End:
    """Return a record as if it had happened later."""
    at = end.prediction.started_at + later_us
    tries = [replace(a, started_at=a.started_at + later_us) for a in end.attempts]
    return End(replace(end.prediction, started_at=at), tuple(tries))
