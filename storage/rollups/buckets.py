"""Logarithmic buckets: which numbers a bucket of `rollup_values` holds.

A number lies within 1 % of the middle of its bucket (Masson, Rim and Lee, "DDSketch", VLDB 2019):
bucket = sign(v) * max(0, round(50.5 ln(1000 |v|)) + 349). Bucket 0 holds what is below 1e-6 on
either side of zero. Unknown numbers have no bucket.
"""

from math import exp, inf, isinf, isnan, log

BUCKETS_PER_E = 50.5
ZERO = 349
INFINITE = 40_000
"""The bucket of infinity, beyond that of every finite number; negative for minus infinity."""

_LEAST = 0.001
_GREATEST = 1e300


def bucket_of(value: float | None) -> int | None:
    """Return the bucket of a number; None where it is unknown (None or NaN)."""
    if value is None or isnan(value):
        return None
    sign = -1 if value < 0 else 1
    if isinf(value):
        return sign * INFINITE
    scaled = max(min(abs(value), _GREATEST) * 1000.0, _LEAST)
    return sign * max(0, _half_up(BUCKETS_PER_E * log(scaled)) + ZERO)


def value_of(bucket: int) -> float:
    """Return the middle of a bucket."""
    if abs(bucket) >= INFINITE:
        return inf if bucket > 0 else -inf
    if bucket == 0:
        return 0.0
    size = exp((abs(bucket) - ZERO) / BUCKETS_PER_E) / 1000.0
    return size if bucket > 0 else -size


def bucket_sql(name: str) -> str:
    """Return `bucket_of` of a DOUBLE column as an expression."""
    scaled = f"greatest(least(abs({name}), {_GREATEST}) * 1000.0, {_LEAST})"
    return (
        f"CASE WHEN isnan({name}) THEN NULL"
        f" WHEN isinf({name}) THEN sign({name})::INTEGER * {INFINITE}"
        f" ELSE sign({name})::INTEGER"
        f" * greatest(0, round({BUCKETS_PER_E} * ln({scaled}))::INTEGER + {ZERO}) END"
    )


def _half_up(value: float) -> int:
    # The database rounds halves away from zero, Python to even ones.
    whole = int(abs(value))
    rounded = whole + (abs(value) - whole >= 0.5)
    return rounded if value >= 0 else -rounded
