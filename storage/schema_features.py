"""Typed inputs of predictive models: a table for every version of a model's schema."""

FEATURE_SCHEMAS = """
CREATE TABLE feature_schemas (
    model VARCHAR NOT NULL, version INTEGER NOT NULL, table_name VARCHAR NOT NULL,
    fields STRUCT("name" VARCHAR, "type" VARCHAR, field VARCHAR)[] NOT NULL,
    created_at TIMESTAMP NOT NULL)
"""
"""Which table has which inputs: `name` in the requests, `field` in the STRUCT of its table."""

VERSION_7: tuple[str, ...] = (FEATURE_SCHEMAS,)
"""The tables themselves are made as models come."""
