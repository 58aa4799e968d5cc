"""What must be remembered of rows that are gone."""

FORGOTTEN = """
CREATE TABLE forgotten (
    user_key VARCHAR, prediction_id UUID, before_at TIMESTAMP NOT NULL,
    forgotten_at TIMESTAMP NOT NULL)
"""
"""Tombstones: no row of this user that started before `before_at`, or with this id, comes back."""

VERSION_6: tuple[str, ...] = (FORGOTTEN,)
"""Deletion that outlives a restore."""
