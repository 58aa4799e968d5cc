"""Typed inputs of predictive models."""

VERSION_7: tuple[str, ...] = ()
