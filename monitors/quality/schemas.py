"""Changes of what models are asked with: new inputs, and inputs that come as another type."""

from collections.abc import Iterable, Iterator

from monitors.embeddings.names import is_part
from monitors.quality.verdicts import Look, Measured, made, stepped
from storage.features.changes import SchemaChange
from storage.records import Verdict
from storage.times import DAY_US

SCHEMA = "schema"
"""Feature of the verdicts about a route's schemas."""
YOUNG_US = DAY_US
"""A model that is younger than that is still becoming known: its optional inputs come by and by."""
_NAMES = 5
_TYPES = {"BIGINT": "number", "DOUBLE": "number", "BOOLEAN": "flag", "VARCHAR": "text"}


def schema_verdict(look: Look, changes: Iterable[SchemaChange], before: Verdict | None) -> Verdict:
    """Return a route's verdict: a breach as long as a change lies in the window."""
    ours = [one for one in changes if look.route in one.routes and _is_news(one)]
    told = [text for one in ours for text in _told(one)]
    state = stepped(before, "warning" if told else "none", look, is_calm=True)
    cause = "; ".join(told[:_NAMES]) if told else "no model is asked with anything new"
    more = f" and {len(told) - _NAMES} more" if len(told) > _NAMES else ""
    return made(
        look,
        SCHEMA,
        state,
        Measured(SCHEMA, float(len(told)), threshold=0.0),
        {"cause": cause + more, "models": sorted({one.model for one in ours})},
    )


def _is_news(one: SchemaChange) -> bool:
    return one.at_us - one.first_at_us >= YOUNG_US


def _told(one: SchemaChange) -> Iterator[str]:
    known = {name for name, _ in one.before}
    for field in one.added:
        if is_part(field.name):
            continue  # They come with our own configuration, not with a request.
        # A whole number that becomes any number is no other type.
        if (field.name, field.kind) not in one.before:
            as_ = f"as {_TYPES[field.type]}" if field.name in known else f"({_TYPES[field.type]})"
            yield f"`{one.model}` is asked with `{field.name}` {as_}, which it was not before"
