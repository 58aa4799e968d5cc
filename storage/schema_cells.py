"""Cells by segment: `rollup_segments` beside `rollup_cells`, which stays as it is for all rows.

A table of its own keeps old files, old archives and the reads of whole routes as they were.
"""

SEGMENTS = """
CREATE TABLE rollup_segments (
    "at" TIMESTAMP NOT NULL, grain_s INTEGER NOT NULL, route VARCHAR NOT NULL,
    segment VARCHAR NOT NULL, feature VARCHAR NOT NULL, baseline VARCHAR NOT NULL,
    cell INTEGER NOT NULL, n BIGINT NOT NULL)
"""

VERSION_9: tuple[str, ...] = (
    SEGMENTS,
    "ALTER TABLE cell_edges ADD COLUMN segments VARCHAR[]",
    "ALTER TABLE cell_edges ADD COLUMN wanted_from TIMESTAMP",
)
"""`segments` are those of the route's baseline, `key=value`; other values are `key=(other)`.

`counted_from` moves back to `wanted_from`, a slice of earlier rows with each batch.
"""
